"""Batches of one training set alone, for what is measured before a first step."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import jax
from ml_collections import ConfigDict

from input_pipeline.batches import device_arrays
from vsft_jax.config import Run
from vsft_jax.prepare import prepare_training
from vsft_jax.row_plan import batch_plan, planned_batches
from vsft_jax.sharding import local_rows, put_batch

if TYPE_CHECKING:
    from vsft_jax.train.step import Trainer


def batches_of(
    run: Run, trainer: "Trainer", name: str, frames: Mapping[str, Any], steps: int
) -> Iterator[dict[str, jax.Array]]:
    """The first batches of an epoch of the set `name`, on the trainer's mesh: `train.batch_rows`
    rows each. frames: the frame policy. Training need not take any of the set."""
    config = run.config.copy_and_resolve_references()
    config.data.update(mixture=name, replay="", epoch="amounts")
    with config.unlocked():
        config.frames = ConfigDict(dict(frames))
    alone = Run(config, run.workdir)
    stores, rows = prepare_training(alone).stores(), config.train.batch_rows
    plan = batch_plan(alone, stores)
    here = local_rows(trainer.mesh, rows)
    for batch in planned_batches(run, stores[name], plan, here, steps=steps):
        yield put_batch(device_arrays(batch), trainer.mesh, rows)
