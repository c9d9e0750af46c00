"""How much each parameter matters to pictures: the diagonal of the empirical Fisher information."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from absl import logging
from flax import nnx

from vsft_jax.config import Run
from vsft_jax.train.one_set import batches_of
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
    # Whatever the run's policy is: pictures have none.
    frames = {"kind": "fixed", "frames": run.layout.min_frames}
    logging.info("importance of parameters to %s, from %d batches…", name, steps)
    add = jax.jit(lambda total, state, batch: _added(trainer, total, state, batch))
    total = jax.tree.map(jnp.zeros_like, state.trainable)
    for batch in batches_of(run, trainer, name, frames, steps):
        total = add(total, state, batch)
    sizes = sum(x.size for x in jax.tree.leaves(total))
    mean = sum(x.sum() for x in jax.tree.leaves(total)) / sizes
    importance = jax.tree.map(lambda x: x / mean, total)
    return dataclasses.replace(state, opt_state=with_importance(state.opt_state, importance))


def _added(
    trainer: "Trainer", total: nnx.State, state: "TrainState", batch: Mapping[str, Any]
) -> nnx.State:
    """total and, for each row of the batch, its squared gradient."""

    def add(total: nnx.State, row: Mapping[str, Any]) -> tuple[nnx.State, None]:
        one = {name: x[None] for name, x in row.items()}
        grads, (sums, _) = trainer.gradients(state, one)
        return jax.tree.map(lambda t, g: t + g**2, total, sums.mean_of(grads)), None

    return jax.lax.scan(add, total, dict(batch))[0]
