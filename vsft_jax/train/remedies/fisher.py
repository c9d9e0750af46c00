"""How much each parameter matters to pictures: the diagonal of the empirical Fisher information."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from absl import logging
from flax import nnx
from ml_collections import ConfigDict

from input_pipeline.batches import BatchPlan, SourceSizes, device_arrays, make_batches
from input_pipeline.index import ExampleStore
from vsft_jax.config import Run
from vsft_jax.prepare import prepare_training
from vsft_jax.sharding import local_rows, put_batch
from vsft_jax.train.remedies.pull import with_importance

if TYPE_CHECKING:  # a step applies remedies; this one needs its gradients, before the first
    from vsft_jax.train.step import Trainer, TrainState


def with_fisher(run: Run, trainer: "Trainer", state: "TrainState") -> "TrainState":
    """A state at step 0 whose pull to the start is by importance to `config.remedy.fisher_data`.

    The mean over rows of the squared gradient of the row's mean loss, over
    `config.remedy.fisher_steps` batches of that training set alone. A row holds a few examples: of
    one each it would be the empirical Fisher information itself. Scaled so that its mean over what
    trains is 1, so that `remedy.ewc` and `remedy.l2` are of one scale.
    """
    name, steps = run.config.remedy.fisher_data, run.config.remedy.fisher_steps
    rows, store = run.config.train.batch_rows, _prepared(run, name)
    plan = BatchPlan(
        {name: SourceSizes(store.tokens, store.patches, store.largest_grids)},
        {name: 1.0},
        batch_rows=rows,
        seed=run.config.seed,
        max_tokens=run.row_shape.tokens,
        max_patches=run.row_shape.patches,
        window=run.config.train.pack_window,
        slices=run.row_shape.slices,
    )
    here = local_rows(trainer.mesh, rows)
    batches = make_batches(
        store,
        lambda step: plan.local_rows(step, here),
        run.tokenizer,
        run.layout,
        run.row_shape,
        steps=steps,
        start_step=0,
        decoder=run.decoder,
        threads=run.config.data.workers,
    )
    logging.info("importance of parameters to %s, from %d batches…", name, steps)
    add = jax.jit(lambda total, state, batch: _added(trainer, total, state, batch))
    total = jax.tree.map(jnp.zeros_like, state.trainable)
    for batch in batches:
        total = add(total, state, put_batch(device_arrays(batch), trainer.mesh, rows))
    sizes = sum(x.size for x in jax.tree.leaves(total))
    mean = sum(x.sum() for x in jax.tree.leaves(total)) / sizes
    importance = jax.tree.map(lambda x: x / mean, total)
    return dataclasses.replace(state, opt_state=with_importance(state.opt_state, importance))


def _prepared(run: Run, name: str) -> ExampleStore:
    """The set's examples, of which training need not take any."""
    config = run.config.copy_and_resolve_references()
    config.data.update(mixture=name, replay="", epoch="amounts")
    with config.unlocked():  # whatever the run's policy is: pictures have none
        config.frames = ConfigDict({"kind": "fixed", "frames": run.layout.min_frames})
    return prepare_training(Run(config, run.workdir)).stores()[name]


def _added(
    trainer: "Trainer", total: nnx.State, state: "TrainState", batch: Mapping[str, Any]
) -> nnx.State:
    """total and, for each row of the batch, its squared gradient."""

    def add(total: nnx.State, row: Mapping[str, Any]) -> tuple[nnx.State, None]:
        one = {name: x[None] for name, x in row.items()}
        grads, sums = trainer.gradients(state, one)
        weight = jnp.maximum(sums.weight, 1.0)
        return jax.tree.map(lambda t, g: t + (g / weight) ** 2, total, grads), None

    return jax.lax.scan(add, total, dict(batch))[0]
