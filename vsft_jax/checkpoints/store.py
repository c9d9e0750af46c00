"""The checkpoints of a run: parameters, optimiser state and the facts to use them, through Orbax.

A checkpoint of step k has three items. `params` holds every parameter by path, whether it was
trained or frozen, so that another run can start from it with other parts frozen. `optimizer` holds
the optimiser state. `meta` holds the config, the resolved frame-budget spec and the step: what
evaluation needs to apply the same budget. Data needs no state, since batch k follows from k.
"""

import contextlib
import json
from pathlib import Path
from typing import Any

import orbax.checkpoint as ocp

from input_pipeline.mirrors import publish
from input_pipeline.paths import is_remote
from vsft_jax.checkpoints.errors import CheckpointError, named
from vsft_jax.checkpoints.manifest import damage, write_manifest
from vsft_jax.checkpoints.places import home, remove, steps_of, unfinished
from vsft_jax.parameters import flatten, not_finite, unflatten
from vsft_jax.processes import is_first


class Checkpoints:
    """The checkpoints of one workdir. In a job of several processes all of them make every call."""

    def __init__(
        self,
        workdir: str | Path,
        *,
        keep: int | None = None,
        read_only: bool = False,
        verify: bool = True,
    ):
        """workdir: a folder, or an address. keep: the newest so many; older ones go before the next
        one is written, and at the end. verify: what is restored is compared with its checksums."""
        self.directory = home(workdir)
        if read_only and not self.directory.is_dir():
            raise CheckpointError(f"{self.directory} has no checkpoints: was the model trained?")
        self._keep, self._verify = keep, verify
        self._saving: int | None = None  # the step that was saved last
        options = ocp.CheckpointManagerOptions(
            create=not read_only,
            async_options=ocp.AsyncOptions(post_finalization_callback=self._complete),
        )
        self._manager = ocp.CheckpointManager(self.directory, options=options)

    def latest(self) -> int | None:
        """The newest step that was completely written, or None."""
        return self._manager.latest_step()

    def save(self, step: int, params: Any, optimizer: Any, meta: dict[str, Any]) -> None:
        """Starts writing a checkpoint; it appears at once when complete, or not at all.

        Raises CheckpointError when this one, or the one before, cannot be written.
        """
        self.wait()
        self._remove_old()
        publish()  # a checkpoint has all of its run's record before it
        self._saving = step
        with self._written():
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    params=ocp.args.StandardSave(flatten(params)),
                    optimizer=ocp.args.StandardSave(flatten(optimizer)),
                    meta=ocp.args.JsonSave(meta),
                ),
            )

    def restore_params(self, like: Any, step: int | None = None) -> Any:
        """Parameters with the structure, dtypes and shardings of `like` (ShapeDtypeStructs).

        Raises CheckpointError for damaged files, listing parameters that are missing, left over or
        mis-shaped, and for values that are not finite.
        """
        step = self._step(step)
        params = self._restore("params", like, step)
        if bad := not_finite(params):
            raise CheckpointError(
                f"{self.directory / str(step)} is of no use: {bad} (NaN or infinity).\n"
                f"{self._other_than(step)}"
            )
        return params

    def restore_optimizer(self, like: Any, step: int | None = None) -> Any:
        """Optimiser state with the structure of `like`. Raises CheckpointError."""
        return self._restore("optimizer", like, self._step(step))

    def meta(self, step: int | None = None) -> dict[str, Any]:
        """The config, resolved frame-budget spec and step of a checkpoint. Raises
        CheckpointError."""
        step = self._step(step)
        self._check("meta", step)
        return json.loads(json.dumps(self._read("meta", ocp.args.JsonRestore(), step)))

    def wait(self) -> None:
        """Returns when everything that was saved is on disk. Raises CheckpointError."""
        with self._written():
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits for writing and frees the manager's threads. Raises CheckpointError."""
        with self._written():
            self._manager.close()
        self._remove_old()

    def _remove_old(self) -> None:
        """Not left to Orbax, which removes file by file: killed, it leaves a part of a checkpoint
        that has its name."""
        if self._keep and is_first():
            for step in steps_of(self.directory)[self._keep :]:
                with named(self.directory / str(step), "cannot be removed"):
                    remove(self.directory / str(step))

    def _complete(self) -> None:
        """Called in process 0 when the files of a save are there, before it has its name."""
        saving = str(self._saving)
        (folder,) = (
            path for path in unfinished(self.directory) if path.name.split(".")[0] == saving
        )
        write_manifest(folder)

    def _written(self) -> contextlib.AbstractContextManager[None]:
        remedy = (
            "\nIf the disk is full make room; started again, the run goes on from the one before"
        )
        return named(self.directory / str(self._saving), "cannot be written", remedy)

    def _step(self, step: int | None) -> int:
        step = self.latest() if step is None else step
        if step is None:
            raise CheckpointError(f"{self.directory} has no finished checkpoint")
        return step

    def _restore(self, item: str, like: Any, step: int) -> Any:
        folder, flat = self.directory / str(step), flatten(like)
        self._check(item, step)
        with named(folder / item, "cannot be read"):
            saved = ocp.StandardCheckpointHandler().metadata(folder / item)
        if problems := _mismatches(flat, saved):
            raise CheckpointError(f"{item} of {folder} do not fit this config: {problems}")
        return unflatten(like, self._read(item, ocp.args.StandardRestore(flat), step))

    def _read(self, item: str, args: ocp.args.CheckpointArgs, step: int) -> Any:
        with named(self.directory / str(step) / item, "cannot be read"):
            return self._manager.restore(step, args=ocp.args.Composite(**{item: args}))[item]

    def _check(self, item: str, step: int) -> None:
        folder = self.directory / str(step)
        if self._verify and (problem := damage(folder, [item])):
            raise CheckpointError(f"{folder} is damaged: {problem}.\n{self._other_than(step)}")

    def _other_than(self, step: int) -> str:
        """How to use another checkpoint."""
        others = [other for other in steps_of(self.directory) if other != step]
        whole = next((each for each in others if not damage(self.directory / str(each))), None)
        if whole is None:
            return "No other checkpoint is whole there: train it again, or use another model"
        folder = self.directory / str(step)
        move = "gcloud storage mv" if is_remote(str(folder)) else "mv"
        return f"Step {whole} is whole; to use it: {move} {folder} {folder}.damaged"


def _mismatches(wanted: dict[str, Any], saved: Any) -> str:
    saved = dict(getattr(saved, "tree", saved))
    problems = [f"missing {name}" for name in wanted if name not in saved]
    problems += [f"left over {name}" for name in saved if name not in wanted]
    problems += [
        f"{name} is {tuple(saved[name].shape)}, expected {tuple(leaf.shape)}"
        for name, leaf in wanted.items()
        if name in saved and tuple(saved[name].shape) != tuple(leaf.shape)
    ]
    return "; ".join(problems)
