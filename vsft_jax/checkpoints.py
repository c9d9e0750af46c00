"""Checkpoints: parameters, optimiser state and the facts needed to use them, through Orbax.

A checkpoint of step k has three items. `params` holds every parameter by path, whether it was
trained or frozen, so that another run can start from it with other parts frozen. `optimizer` holds
the optimiser state. `meta` holds the config, the resolved frame-budget spec and the step: what
evaluation needs to apply the same budget. Data needs no state, since batch k follows from k.
"""

import json
from pathlib import Path
from typing import Any

import orbax.checkpoint as ocp

from input_pipeline.errors import UserError
from vsft_jax.parameters import flatten, unflatten


class CheckpointError(UserError):
    """A checkpoint is missing or does not fit the model."""


class Checkpoints:
    """The checkpoints of one workdir."""

    def __init__(self, workdir: str | Path, *, keep: int | None = None, read_only: bool = False):
        self.directory = Path(workdir).absolute() / "checkpoints"
        if read_only and not self.directory.is_dir():
            raise CheckpointError(f"{self.directory} has no checkpoints: was the model trained?")
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, create=not read_only)
        self._manager = ocp.CheckpointManager(self.directory, options=options)

    def latest(self) -> int | None:
        """The newest step that was completely written, or None."""
        return self._manager.latest_step()

    def save(self, step: int, params: Any, optimizer: Any, meta: dict[str, Any]) -> None:
        """Starts writing a checkpoint; it appears at once when complete, or not at all."""
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

        Raises CheckpointError listing parameters that are missing, left over or mis-shaped.
        """
        return self._restore("params", like, self._step(step))

    def restore_optimizer(self, like: Any, step: int | None = None) -> Any:
        """Optimiser state with the structure of `like`."""
        return self._restore("optimizer", like, self._step(step))

    def meta(self, step: int | None = None) -> dict[str, Any]:
        """The config, resolved frame-budget spec and step of a checkpoint."""
        step = self._step(step)
        args = ocp.args.Composite(meta=ocp.args.JsonRestore())
        meta = self._manager.restore(step, args=args)["meta"]
        return json.loads(json.dumps(meta))

    def wait(self) -> None:
        """Returns when everything that was saved is on disk."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits for writing and frees the manager's threads."""
        self._manager.close()

    def _step(self, step: int | None) -> int:
        step = self.latest() if step is None else step
        if step is None:
            raise CheckpointError(f"{self.directory} has no finished checkpoint")
        return step

    def _restore(self, item: str, like: Any, step: int) -> Any:
        flat = flatten(like)
        saved = ocp.StandardCheckpointHandler().metadata(self.directory / str(step) / item)
        problems = _mismatches(flat, saved)
        if problems:
            raise CheckpointError(
                f"{item} of {self.directory}/{step} do not fit this config: " + "; ".join(problems)
            )
        args = ocp.args.Composite(**{item: ocp.args.StandardRestore(flat)})
        return unflatten(like, self._manager.restore(step, args=args)[item])


def _mismatches(wanted: dict[str, Any], saved: Any) -> list[str]:
    saved = dict(getattr(saved, "tree", saved))
    problems = [f"missing {name}" for name in wanted if name not in saved]
    problems += [f"left over {name}" for name in saved if name not in wanted]
    problems += [
        f"{name} is {tuple(saved[name].shape)}, expected {tuple(leaf.shape)}"
        for name, leaf in wanted.items()
        if name in saved and tuple(saved[name].shape) != tuple(leaf.shape)
    ]
    return problems
