"""Which settings of a step are best among those that fit: one thing changed at a time."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

from absl import logging

from vsft_jax.config import Run
from vsft_jax.plan.result import Plan

# What the backward pass keeps of the language model and of the tower, from little to much.
_REMAT = (("attention", "full"), ("attention", ""), ("qkv", ""), ("mlp", "full"), ("mlp", ""))
# Parameters, optimiser and gradients may take this part of the memory for a mesh to be tried.
_STATE = 0.5


@dataclasses.dataclass(frozen=True)
class Found:
    """Settings that fit, by key of the config, and their plan."""

    overrides: dict[str, Any]
    plan: Plan

    @property
    def score(self) -> float:
        """Useful MFU, the mean of both prices, or MFU where there is no corpus for such rows."""
        return sum(self.plan.useful_mfu if self.plan.rows else self.plan.mfu) / 2

    @property
    def line(self) -> str:
        """The settings as arguments of a command, with the batch that they make."""
        given = self.overrides | {"train.batch_rows": self.plan.batch_rows}
        return " ".join(f"--config.{key}={value}" for key, value in given.items())


def search(run: Run, first: Plan, plan: Callable[[Run], Plan]) -> list[Found]:
    """Settings that fit, best first, the run's own among them if they do.

    Row shape, then mesh, remat and rows a device: each from the best so far. About ten plans.

    first: of the run as it is. plan: of a run.
    """
    found = [Found({}, first)] if first.fits else []

    def attempt(overrides: dict[str, Any]) -> None:
        planned = plan(_with(run, overrides))
        logging.info(
            "%s %s", overrides, f"needs {planned.needed / 2**30:.1f} GiB of a device's memory"
        )
        if planned.fits:
            found.append(Found(overrides, planned))

    def best() -> dict[str, Any]:
        return max(found, key=lambda each: each.score).overrides if found else shape

    shape: dict[str, Any] = {}
    if first.rows and first.rows.balanced_patches != first.row_patches:
        shape = {"layout.row_patches": first.rows.balanced_patches}
        attempt(shape)
    for data in _meshes(first):
        attempt(shape | {"mesh.data": data, "mesh.fsdp": -1})
    mesh = best()
    for remat, tower in _REMAT:
        attempt(mesh | {"model.remat": remat, "model.tower_remat": tower})
    attempt(best() | {"plan.rows": 2 * first.rows_per_device})
    return sorted(found, key=lambda each: each.score, reverse=True)


def _meshes(first: Plan) -> Iterator[int]:
    """Sizes of the 'data' axis to try: the two largest with which the state takes little enough."""
    parts = ("parameters", "optimiser", "gradients")
    state = sum(first.memory.get(part, 0.0) for part in parts) * first.mesh["fsdp"]
    left = first.mesh["data"] * first.mesh["fsdp"]
    sizes = [2**i for i in range(left.bit_length()) if left % 2**i == 0]
    fitting = [data for data in sizes if state * data / left <= _STATE * first.available]
    yield from (data for data in fitting[-2:] if data != first.mesh["data"])


def _with(run: Run, overrides: dict[str, Any]) -> Run:
    config = run.config.copy_and_resolve_references()
    config.update_from_flattened_dict(overrides)
    return Run(config, run.workdir)
