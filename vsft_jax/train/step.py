"""The train step: one jitted function of fixed shapes, whatever mix of media a row holds."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import flax
import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh

from vsft_jax.loss import token_loss
from vsft_jax.train.metrics import StepMetrics
from vsft_jax.train.sharding import path_string, shardings


@flax.struct.dataclass
class TrainState:
    """Everything that changes from step to step."""

    step: jax.Array  # int32[], finished steps
    trainable: nnx.State
    frozen: nnx.State
    opt_state: optax.OptState

    @property
    def params(self) -> nnx.State:
        """All parameters, trained and frozen."""
        return nnx.merge_state(self.trainable, self.frozen)


@dataclasses.dataclass(frozen=True)
class Trainer:
    """A model with its optimiser, ready to make a state and to take steps.

    build: () → nnx.Module with fresh parameters, called under jit. component_of: parameter path →
    part. parts: the parts that train. accumulate: microbatches a step.
    """

    build: Callable[[], nnx.Module]
    component_of: Callable[[Any], str]
    parts: frozenset[str]
    optimizer: optax.GradientTransformation
    rules: tuple[tuple[str, tuple], ...]
    mesh: Mesh
    accumulate: int = 1
    loss_chunk: int = 1024

    def _split(self, model: nnx.Module) -> tuple[nnx.GraphDef, nnx.State, nnx.State]:
        def trains(path, _):
            return self.component_of(path) in self.parts

        return nnx.split(model, trains, ...)

    @functools.cached_property
    def graphdef(self) -> nnx.GraphDef:
        """The model's static structure."""
        found = []

        def split():
            graphdef, *states = self._split(self.build())
            found.append(graphdef)
            return states

        jax.eval_shape(split)
        return found[0]

    def _init(self) -> TrainState:
        _, trainable, frozen = self._split(self.build())
        step = jnp.zeros((), jnp.int32)
        return TrainState(step, trainable, frozen, self.optimizer.init(trainable))

    def abstract_state(self) -> TrainState:
        """The state's shapes, dtypes and shardings, with no memory behind them."""
        shapes = jax.eval_shape(self._init)
        placed = shardings(shapes, self.rules, self.mesh)
        return jax.tree.map(
            lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), shapes, placed
        )

    def init(self) -> TrainState:
        """A fresh state, created in place on its shards."""
        placed = jax.tree.map(lambda x: x.sharding, self.abstract_state())
        return jax.jit(self._init, out_shardings=placed)()

    @functools.cached_property
    def step(self) -> Callable[[TrainState, Mapping[str, jax.Array]], tuple]:
        """(state, batch) → (state, StepMetrics). The state given in is consumed."""
        return jax.jit(self._step, donate_argnums=0)

    def _step(self, state: TrainState, batch: Mapping[str, jax.Array]):
        def loss_sum(trainable, rows):
            model = nnx.merge(self.graphdef, trainable, state.frozen)
            total, weight, correct = token_loss(
                model.unembed,
                model.hidden_states(rows),
                rows["targets"],
                rows["loss_weights"],
                self.loss_chunk,
            )
            return total, (weight, correct)

        def add_microbatch(carry, rows):
            (total, (weight, correct)), grads = jax.value_and_grad(loss_sum, has_aux=True)(
                state.trainable, rows
            )
            return jax.tree.map(jnp.add, carry, (grads, total, weight, correct)), None

        zero = jnp.zeros((), jnp.float32)
        sums = (jax.tree.map(jnp.zeros_like, state.trainable), zero, zero, zero)
        if self.accumulate == 1:
            sums, _ = add_microbatch(sums, batch)
        else:
            sums, _ = jax.lax.scan(add_microbatch, sums, _microbatches(batch, self.accumulate))
        grads, total, weight, correct = sums
        # Every answer token of the step counts the same, in whichever row or microbatch it lies.
        grads = jax.tree.map(lambda g: g / jnp.maximum(weight, 1.0), grads)
        updates, opt_state = self.optimizer.update(grads, state.opt_state, state.trainable)
        state = TrainState(
            step=state.step + 1,
            trainable=optax.apply_updates(state.trainable, updates),
            frozen=state.frozen,
            opt_state=opt_state,
        )
        return state, StepMetrics.from_sums(total, correct, weight, optax.global_norm(grads))


def _microbatches(batch: Mapping[str, jax.Array], count: int) -> dict[str, jax.Array]:
    """[B, ...] → [count, B/count, ...], every device keeping its own rows in each microbatch."""
    return {
        name: jnp.moveaxis(x.reshape(x.shape[0] // count, count, *x.shape[1:]), 1, 0)
        for name, x in batch.items()
    }


def parameter_counts(trainer: Trainer) -> dict[str, int]:
    """Parameters in all and those that train, by part."""
    shapes = trainer.abstract_state()
    counts: dict[str, int] = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(shapes.params)[0]:
        part = trainer.component_of(path_string(path).split("/"))
        counts[part] = counts.get(part, 0) + leaf.size
    return counts
