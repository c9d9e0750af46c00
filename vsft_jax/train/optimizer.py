"""Which parameters train, and AdamW with warm-up, cosine decay and a learning rate a part."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array
from ml_collections import ConfigDict

from vsft_jax.errors import ConfigError
from vsft_jax.lora import is_adapter
from vsft_jax.parameters import path_string, selector
from vsft_jax.train.remedies import Remedies, pull_to_start

NO_REMEDIES = Remedies()
MU_DTYPES = ("float32", "bfloat16")


def trainable_parts(learning_rate: Mapping[str, float]) -> frozenset[str]:
    """Parts with a learning rate above zero; the others are frozen.

    Raises ConfigError when nothing would train or a rate is negative.
    """
    if any(rate < 0 for rate in learning_rate.values()):
        raise ConfigError(f"config.optimizer.learning_rate has a negative rate: {learning_rate}")
    parts = frozenset(part for part, rate in learning_rate.items() if rate > 0)
    if not parts:
        raise ConfigError("config.optimizer.learning_rate is 0 for every part: nothing would train")
    return parts


def trainable(
    config: ConfigDict, paths: Iterable[str], component_of: Callable[[str], str]
) -> frozenset[str]:
    """The parameters that train.

    Those in a part with a learning rate that `config.train.only` chooses ("": all). In a part with
    adapters, only the adapters.

    Args:
        config: the whole config.
        paths: every parameter of the model.
        component_of: path of a parameter → "tower", "projector" or "llm".

    Raises:
        ConfigError: nothing would train, no adapter would, or `config.train.only` matches nothing.
    """
    paths, rates = list(paths), config.optimizer.learning_rate
    parts = trainable_parts(rates)
    adapters = {path for path in paths if is_adapter(path)}
    adapted = {component_of(path) for path in adapters}
    chosen = selector(config.train.only or ".*", "config.train.only")
    wanted = [path for path in paths if chosen(path)]
    if not wanted:
        raise ConfigError(
            f"config.train.only = {config.train.only!r} matches no parameter; there are "
            f"{', '.join(sorted(paths))}"
        )
    found = frozenset(
        path
        for path in wanted
        if component_of(path) in parts and (path in adapters or component_of(path) not in adapted)
    )
    if not found or (adapters and not adapters & found):
        raise ConfigError(
            f"{'no adapter' if adapters else 'nothing'} would train with config.train.only = "
            f"{config.train.only!r} and config.optimizer.learning_rate = {dict(rates)}"
            + (f": config.lora.targets lie in {', '.join(sorted(adapted))}" if adapters else "")
        )
    return found


def schedule(peak: float, config: ConfigDict, steps: int | Array) -> optax.Schedule:
    """Linear warm-up to `peak`, then cosine to `peak · final_fraction` at the last step.

    `optax.warmup_cosine_decay_schedule` to the bit, but `steps` may be traced: as data it is no
    part of the compiled step.
    """
    final = config.final_fraction

    def rate(step: jax.typing.ArrayLike) -> Array:
        warmup = jnp.minimum(config.warmup_steps, jnp.maximum(steps - 1, 0))
        decay = jnp.maximum(steps - warmup, 1)
        rising = peak - peak * (1 - jnp.minimum(step, warmup) / jnp.maximum(warmup, 1))
        fallen = jnp.minimum(step - warmup, decay).astype(jnp.float32)
        cosine = 0.5 * (1 + jnp.cos(jnp.pi * fallen / decay))
        return jnp.where(step < warmup, rising, peak * ((1 - final) * cosine + final))

    return rate


def learning_rates(config: ConfigDict) -> dict[str, Callable[[int], float]]:
    """By the name under which it is logged, the rate of each part that trains: finished steps → the
    rate of the next one."""

    def rate(part: str) -> Callable[[int], float]:
        peak = config.optimizer.learning_rate[part]
        planned = schedule(peak, config.optimizer, config.train.steps)
        return lambda step: float(planned(step))

    parts = sorted(trainable_parts(config.optimizer.learning_rate))
    return {f"learning_rate/{part}": rate(part) for part in parts}


def make_optimizer(
    config: ConfigDict, component_of: Callable[[str], str], remedies: Remedies = NO_REMEDIES
) -> optax.GradientTransformationExtraArgs:
    """The optimiser over trainable parameters; its `update` takes the `steps` of the schedule, too.

    component_of: path of a parameter → "tower", "projector" or "llm", which picks its rate.
    Gradients are clipped by their global norm over everything that trains. Weight decay applies
    to matrices (kernels, adapters and embeddings), not to biases and norm scales. A pull to the
    start, where `remedies` have one, is a part of the gradient, and is clipped with it.

    Raises ConfigError for a `config.mu_dtype` that the first moment cannot be kept in.
    """
    if config.mu_dtype not in MU_DTYPES:
        raise ConfigError(
            f"config.optimizer.mu_dtype = {config.mu_dtype!r}: expected one of {MU_DTYPES}"
        )

    def adamw(part: str) -> optax.GradientTransformationExtraArgs:
        def until(steps: int | Array) -> optax.GradientTransformation:
            return optax.adamw(
                schedule(config.learning_rate[part], config, steps),
                b1=config.b1,
                b2=config.b2,
                eps=config.eps,
                weight_decay=config.weight_decay,
                mask=_decays,
                mu_dtype=config.mu_dtype,
            )

        def update(
            updates: Any, state: Any, params: Any = None, *, steps: int | Array, **_: Any
        ) -> tuple[Any, Any]:
            return until(steps).update(updates, state, params)

        # The state does not depend on the steps.
        return optax.GradientTransformationExtraArgs(until(0).init, update)

    def labels(params: Any) -> Any:
        return jax.tree_util.tree_map_with_path(
            lambda path, _: component_of(path_string(path)), params
        )

    parts = sorted(trainable_parts(config.learning_rate))
    pull = [pull_to_start(remedies.l2, remedies.ewc)] if remedies.keeps_start else []
    return optax.chain(
        *pull,
        optax.clip_by_global_norm(config.clip_norm),
        optax.multi_transform({part: adamw(part) for part in parts}, labels),
    )


def _decays(params: Any) -> Any:
    def decays(path: Sequence[Any], _: Any) -> bool:
        name = path_string(path)
        return is_adapter(name) or name.rsplit("/", 1)[-1] in ("kernel", "embedding")

    return jax.tree_util.tree_map_with_path(decays, params)
