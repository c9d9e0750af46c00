"""Low-rank adapters (LoRA, arXiv 2106.09685) on the matrices of any family's model.

A matrix W [inputs, outputs] is used as W + scale · A B, where A [inputs, rank] and B [rank,
outputs] are parameters of their own beside it (`lora_a`, `lora_b`) and scale = alpha / rank. B
begins at zero, so training starts from the model as it was. No family knows about adapters: they
are put onto a model after it is built, and `layers.Linear` uses them where they are.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from ml_collections import ConfigDict

from vsft_jax.errors import ConfigError
from vsft_jax.models import Family
from vsft_jax.models.shared.layers import Linear
from vsft_jax.parameters import PRESETS, flatten, selector

_NAMES = ("lora_a", "lora_b")


@dataclasses.dataclass(frozen=True)
class Lora:
    """Which matrices have adapters, and of what kind; targets as in `parameters.selector`."""

    rank: int
    alpha: float
    targets: str

    @property
    def scale(self) -> float:
        """The factor on A B in training."""
        return self.alpha / self.rank

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "Lora | None":
        """What `config.lora` says; None where the rank is 0. Raises ConfigError naming the key."""
        if config["rank"] == 0:
            return None
        if config["rank"] < 0 or config["alpha"] <= 0:
            raise ConfigError(
                f"config.lora.rank = {config['rank']} and config.lora.alpha = {config['alpha']} "
                "must be positive (rank 0 switches adapters off)"
            )
        # A preset's meaning, so that its name and its expression are the same.
        targets = PRESETS.get(config["targets"], config["targets"])
        return cls(int(config["rank"]), float(config["alpha"]), targets)

    @classmethod
    def of_checkpoint(cls, meta: Mapping[str, Any]) -> "Lora | None":
        """The adapters in a checkpoint, from its `meta`; an old one says nothing and has none."""
        return cls.of(meta["config"].get("lora") or {"rank": 0})


@dataclasses.dataclass(frozen=True)
class ModelBuilder:
    """() → a family's model with fresh parameters, and with adapters where `lora` says.

    For `sharding.abstract_model` and under jit: called plainly, everything is on one device.
    """

    family: Family
    config: Any
    lora: Lora | None = None
    seed: int = 0

    def __call__(self) -> nnx.Module:
        rngs = nnx.Rngs(self.seed)
        model = self.family.model(self.config, rngs=rngs)
        if self.lora:
            add_lora(model, self.lora, rngs)
        return model


def add_lora(model: nnx.Module, lora: Lora, rngs: nnx.Rngs) -> None:
    """Puts adapters onto the model's `Linear`s that are targets.

    A: uniform within ±1 / √inputs, as peft's `LoraLayer.reset_lora_parameters`; B: zero. They are
    float32 even where the frozen matrices are of lower precision, since small steps add up in them.

    Raises:
        ConfigError: no matrix, or the output matrix, is a target.
    """
    chosen = selector(lora.targets, "config.lora.targets")
    linears = {
        "/".join(map(str, path)): module
        for path, module in nnx.iter_modules(model)
        if isinstance(module, Linear)
    }
    targets = {path: module for path, module in linears.items() if chosen(f"{path}/kernel")}
    if not targets:
        raise ConfigError(
            f"config.lora.targets = {lora.targets!r} matches no matrix; there are "
            f"{', '.join(sorted(linears))}"
        )
    if "llm/head" in targets:
        raise ConfigError(
            f"config.lora.targets = {lora.targets!r} matches llm/head, the output matrix, which "
            'cannot have an adapter: narrow it down, for example to "llm/layers"'
        )
    for linear in targets.values():
        *stack, inputs, outputs = linear.kernel.shape
        uniform = nnx.initializers.uniform(2 * inputs**-0.5)
        shape = (*stack, inputs, lora.rank)
        linear.lora_a = nnx.Param(uniform(rngs.params(), shape, jnp.float32) - inputs**-0.5)
        linear.lora_b = nnx.Param(jnp.zeros((*stack, lora.rank, outputs), jnp.float32))
        linear.lora_scale = lora.scale


def is_adapter(path: str) -> bool:
    """Whether a parameter's path is an adapter's."""
    return path.rsplit("/", 1)[-1] in _NAMES


def partition_rules(rules: Sequence[tuple[str, tuple]]) -> list[tuple[str, tuple]]:
    """A family's partition rules and those of the adapters: split as the matrix they stand beside,
    along inputs and outputs; the rank is not split."""
    found = list(rules)
    for pattern, axes in rules:
        if pattern.endswith("/kernel"):
            stem, stack = pattern.removesuffix("kernel"), axes[:-2]
            found += [
                (f"{stem}lora_a", (*stack, axes[-2], None)),
                (f"{stem}lora_b", (*stack, None, axes[-1])),
            ]
    return found


def rescale(graphdef: nnx.GraphDef, params: nnx.State, factor: float) -> nnx.GraphDef:
    """The model with `factor` times the adapters' effect; its parameters stay as they are.

    A factor below 1 takes back part of what fine-tuning did, as in PLLaVA (arXiv 2404.16994).
    """
    model = nnx.merge(graphdef, params)
    for _, module in nnx.iter_modules(model):
        if isinstance(module, Linear) and module.lora_a is not None:
            module.lora_scale *= factor
    return nnx.split(model)[0]


def for_evaluation(config: ConfigDict, graphdef: nnx.GraphDef, params: nnx.State) -> nnx.GraphDef:
    """The model with its adapters at `config.lora.eval_scale`.

    Raises ConfigError where that has no effect because there are none.
    """
    factor = config.lora.eval_scale
    if factor == 1.0:
        return graphdef
    if not any(map(is_adapter, flatten(params))):
        raise ConfigError(
            f"config.lora.eval_scale = {factor} has no effect: the model has no adapters"
        )
    return rescale(graphdef, params, factor)


def merge(graphdef: nnx.GraphDef, params: nnx.State) -> nnx.State:
    """Parameters without adapters whose matrices hold their effect, at the graphdef's scale.

    The matrices given in are consumed. A model without adapters comes back as it is.
    """
    model = nnx.merge(graphdef, params)
    for _, module in nnx.iter_modules(model):
        if isinstance(module, Linear):
            a, b = module.lora_a, module.lora_b
            if a is None or b is None:
                continue
            kernel = module.kernel[...]
            merged = jax.jit(merged_kernel, donate_argnums=0, out_shardings=kernel.sharding)
            module.kernel = nnx.Param(merged(kernel, a[...], b[...], module.lora_scale))
            module.lora_a = module.lora_b = None
    return nnx.split(model)[1]


def merged_kernel(kernel: Array, a: Array, b: Array, scale: float) -> Array:
    """kernel + scale · A B in float32, rounded once; any leading axes (a stack, or one layer)."""
    update = jnp.matmul(a.astype(jnp.float32), b.astype(jnp.float32), precision="highest")
    return (kernel.astype(jnp.float32) + scale * update).astype(kernel.dtype)
