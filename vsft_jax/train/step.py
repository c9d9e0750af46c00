"""The train step: one jitted function of fixed shapes, whatever mix of media a row holds."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import flax
import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh

from vsft_jax.lora import ModelBuilder
from vsft_jax.models import VisionLanguageModel
from vsft_jax.sharding import abstract_model, with_shardings
from vsft_jax.train.loss import LossSums, RouterSums, token_loss
from vsft_jax.train.metrics import StepMetrics
from vsft_jax.train.remedies import Remedies, distill_loss, one_sided, start_of

RECENT = 32  # steps, whose median loss tells what a usual one is


@flax.struct.dataclass
class TrainState:
    """Everything that changes from step to step."""

    step: jax.Array  # int32[], finished steps
    steps: jax.Array  # int32[], the schedule's: data, so that other numbers compile nothing anew
    trainable: nnx.State
    frozen: nnx.State
    opt_state: optax.OptState
    recent_losses: jax.Array  # float32[RECENT], of the latest steps that counted; NaN before them

    @property
    def params(self) -> nnx.State:
        """All parameters, trained and frozen."""
        return nnx.merge_state(self.trainable, self.frozen)


@dataclasses.dataclass(frozen=True)
class Trainer:
    """A model with its optimiser, ready to make a state and to take steps.

    build: makes the model with fresh parameters, under jit. trains: paths of the parameters that
    are trained; for the others there is neither gradient nor optimiser state. accumulate:
    microbatches a step. skip_loss_above: a step whose loss is more than so many times the median of
    the last `RECENT` ones that counted changes nothing; 0: any counts. router_coef: factor of the
    loss that keeps experts busy alike, beside the mean loss of answer tokens. remedies: what keeps
    the skills of the start. tpu_options: XLA options for compiling the step, on TPU only.
    """

    build: ModelBuilder
    trains: frozenset[str]
    optimizer: optax.GradientTransformationExtraArgs
    steps: int  # of the schedule
    rules: tuple[tuple[str, tuple], ...]
    mesh: Mesh
    accumulate: int = 1
    loss_chunk: int = 1024
    skip_loss_above: float = 0.0
    router_coef: float = 0.0
    remedies: Remedies = Remedies()
    tpu_options: Mapping[str, str | int | bool] = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def graphdef(self) -> nnx.GraphDef:
        """The model's static structure."""
        return abstract_model(self.build, self.rules, self.mesh)[0]

    def parted(self, params: nnx.State, **others: Any) -> TrainState:
        """A state from all parameters, which are parted into trained and frozen ones, and its other
        fields."""

        def trains(path: tuple[Any, ...], _: Any) -> bool:
            return "/".join(map(str, path)) in self.trains

        trainable, frozen = nnx.split_state(params, trains, ...)
        return TrainState(trainable=trainable, frozen=frozen, **others)

    def _fresh(self, params: nnx.State, steps: jax.Array) -> TrainState:
        state = self.parted(
            params,
            step=jnp.zeros((), jnp.int32),
            steps=steps,
            opt_state=(),
            recent_losses=jnp.full((RECENT,), jnp.nan, jnp.float32),
        )
        # Updates are far smaller than what bfloat16 can tell apart, whatever the parameters' dtype.
        trainable = jax.tree.map(lambda x: x.astype(jnp.float32), state.trainable)
        opt_state = self.optimizer.init(trainable)
        return dataclasses.replace(state, trainable=trainable, opt_state=opt_state)

    def _init(self, steps: jax.Array, given: nnx.State | None = None) -> TrainState:
        fresh = nnx.split(self.build())[1]
        return self._fresh(fresh if given is None else nnx.merge_state(fresh, given), steps)

    @functools.cached_property
    def abstract_state(self) -> TrainState:
        """The state's shapes, dtypes and shardings, with no memory behind them."""
        rules = (*self.rules, ("^recent_losses$", (None,)))
        return with_shardings(jax.eval_shape(self._init, jnp.int32(0)), rules, self.mesh)

    def init(self, params: nnx.State | None = None) -> TrainState:
        """A state at step 0, with the given parameters and fresh ones where none are given
        (adapters for a model that had none), created on its shards."""
        placed = jax.tree.map(lambda x: x.sharding, self.abstract_state)
        init = jax.jit(self._init, out_shardings=placed, donate_argnums=1)
        return init(jnp.int32(self.steps), params)

    @functools.cached_property
    def step(self) -> jax.stages.Wrapped:
        """(state, batch) → (state, StepMetrics). The state given in is consumed.

        A step whose loss or gradient is not finite, whose loss is above what is usual, or that has
        no answer token, changes nothing but the number of steps.
        """
        # With the shardings it came with, the state of the next step finds the compiled function.
        placed = jax.tree.map(lambda x: x.sharding, self.abstract_state)
        on_tpu = self.mesh.devices.flat[0].platform == "tpu"
        return jax.jit(
            self._step,
            donate_argnums=0,
            out_shardings=(placed, None),
            compiler_options=dict(self.tpu_options) if on_tpu else None,
        )

    def gradients(
        self, state: TrainState, rows: Mapping[str, jax.Array]
    ) -> tuple[nnx.State, tuple[LossSums, RouterSums]]:
        """Of the loss summed over the rows' answer tokens, and its sums.

        Where remedies distil, answers that are not about clips count by how far they are from the
        start's. The routers' loss is added once for each answer token, as it is added to a mean.
        """

        def loss_sum(trainable: nnx.State) -> tuple[jax.Array, tuple[LossSums, RouterSums]]:
            model = nnx.merge(self.graphdef, trainable, state.frozen)
            hidden, load = model.states_and_load(rows)
            sums = answer_sums(model, hidden)
            routers = RouterSums.of(load, self.build.config.text.experts_per_token)
            return sums.loss + self.router_coef * routers.loss * sums.weight, (sums, routers)

        def answer_sums(model: VisionLanguageModel, hidden: jax.Array) -> LossSums:
            kernel, chunk, cap = model.output_kernel(), self.loss_chunk, model.logit_cap
            if not self.remedies.distill:
                weights = rows["loss_weights"]
                return token_loss(kernel, hidden, rows["targets"], weights, chunk, cap)
            clips, pictures = (each["loss_weights"] for each in _kinds(rows))
            sums = token_loss(kernel, hidden, rows["targets"], clips, chunk, cap)
            start = nnx.merge(self.graphdef, start_of(state.opt_state), state.frozen)
            before = (start.output_kernel(), start.hidden_states(rows))
            kept = distill_loss(kernel, hidden, *before, rows["targets"], pictures, chunk, cap)
            kept = kept._replace(loss=self.remedies.distill * kept.loss)
            return jax.tree.map(jnp.add, sums, kept)

        return jax.grad(loss_sum, has_aux=True)(state.trainable)

    def _step_gradient(
        self, state: TrainState, batch: Mapping[str, jax.Array]
    ) -> tuple[nnx.State, tuple[LossSums, RouterSums]]:
        """The gradient of the mean loss of a step over its microbatches, and the loss's sums."""
        parts = _kinds if self.remedies.project else lambda rows: [rows]
        zero = jnp.zeros((), jnp.float32)
        no_sums = LossSums(zero, zero, zero), RouterSums(zero, zero, zero)
        nothing = (jax.tree.map(jnp.zeros_like, state.trainable), no_sums)
        Total = list[tuple[nnx.State, tuple[LossSums, RouterSums]]]

        def add_microbatch(total: Total, rows: Mapping[str, jax.Array]) -> tuple[Total, None]:
            found = [self.gradients(state, part) for part in parts(rows)]
            return jax.tree.map(jnp.add, total, found), None

        total = [nothing for _ in parts(batch)]
        if self.accumulate == 1:
            total, _ = add_microbatch(total, batch)
        else:
            total, _ = jax.lax.scan(add_microbatch, total, _microbatches(batch, self.accumulate))
        means = [sums.mean_of(grads) for grads, (sums, _) in total]
        together = jax.tree.map(lambda *x: sum(x), *(sums for _, sums in total))
        return one_sided(*means) if self.remedies.project else means[0], together

    def _step(
        self, state: TrainState, batch: Mapping[str, jax.Array]
    ) -> tuple[TrainState, StepMetrics]:
        grads, (sums, routers) = self._step_gradient(state, batch)
        grad_norm = optax.tree.norm(grads)
        finite = jnp.isfinite(sums.loss) & jnp.isfinite(grad_norm)
        loss = sums.mean_of(sums.loss)
        # Before there were so many steps the median is NaN, and nothing is above it.
        spike = (self.skip_loss_above > 0) & (
            loss > self.skip_loss_above * jnp.median(state.recent_losses)
        )
        # Without an answer token there is nothing to learn, not even for momentum and decay.
        learns = finite & ~spike & (sums.weight > 0)
        recent = jnp.append(state.recent_losses[1:], loss)

        def updated(state: TrainState) -> tuple[nnx.State, optax.OptState]:
            updates, opt_state = self.optimizer.update(
                grads, state.opt_state, state.trainable, steps=state.steps
            )
            return optax.apply_updates(state.trainable, updates), opt_state

        def unchanged(state: TrainState) -> tuple[nnx.State, optax.OptState]:
            return state.trainable, _a_step_later(state.opt_state)

        # A branch costs nothing; choosing between two states afterwards reads both of them again.
        trainable, opt_state = jax.lax.cond(learns, updated, unchanged, state)
        state = dataclasses.replace(
            state,
            step=state.step + 1,
            trainable=trainable,
            opt_state=opt_state,
            recent_losses=jnp.where(learns, recent, state.recent_losses),
        )
        return state, StepMetrics.from_sums(sums, routers, grad_norm, finite, spike)


def _kinds(rows: Mapping[str, jax.Array]) -> list[Mapping[str, jax.Array]]:
    """The rows twice: with the answers about clips alone, and with all the others."""
    clips = rows["clips"]
    return [
        {**rows, "loss_weights": jnp.where(chosen, rows["loss_weights"], 0.0)}
        for chosen in (clips, ~clips)
    ]


def _a_step_later(opt_state: optax.OptState) -> optax.OptState:
    """The state after a step without an update: the learning rates' schedules go on with the steps,
    Adam's count stays with its moments."""

    def later(x: Any) -> Any:
        return x._replace(count=optax.safe_increment(x.count)) if _is_schedule(x) else x

    return jax.tree.map(later, opt_state, is_leaf=_is_schedule)


def _is_schedule(x: Any) -> bool:
    return isinstance(x, optax.ScaleByScheduleState)


def _microbatches(batch: Mapping[str, jax.Array], count: int) -> dict[str, jax.Array]:
    """[B, ...] → [count, B/count, ...], every device keeping its own rows in each microbatch."""
    return {
        name: jnp.moveaxis(x.reshape(x.shape[0] // count, count, *x.shape[1:]), 1, 0)
        for name, x in batch.items()
    }
