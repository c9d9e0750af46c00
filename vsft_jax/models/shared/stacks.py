"""Stacks of like layers: how they are built and run, and what the backward pass keeps of them."""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
from flax import nnx
from jax import Array

from vsft_jax.models.shared.block import Block, BlockSpec

# Name of a policy -> which named activations of a layer the backward pass finds stored; the rest
# is computed again. None: store whatever the derivative needs (fastest, most memory).
REMAT: dict[str, tuple[str, ...] | None] = {
    "none": None,
    "full": (),
    "attention": ("attention",),
    "qkv": ("attention", "qkv"),
    "mlp": ("attention", "qkv", "mlp"),
}


def make_blocks(depth: int, spec: BlockSpec, *, param_dtype: str, rngs: nnx.Rngs) -> Block:
    """A stack of transformer layers; see `make_stack`."""
    return make_stack(depth, lambda rngs: Block(spec, param_dtype=param_dtype, rngs=rngs), rngs)


def make_stack(depth: int, make_layer: Callable[[nnx.Rngs], nnx.Module], rngs: nnx.Rngs) -> Any:
    """One module whose parameters have a leading axis of `depth` layers."""
    make = nnx.vmap(make_layer, in_axes=0, out_axes=0)
    return nnx.split_rngs(splits=depth)(make)(rngs)


def scan_stack(
    stack: nnx.Module,
    step: Callable[[Any, Any, Any], tuple[Any, Any]],
    x: Any,
    per_layer: Any = None,
    *,
    remat: str,
) -> tuple[Any, Any]:
    """Runs `step(layer, x, per_layer[i]) -> (x, extra)` through a stack made by `make_stack`.

    Returns the last x, and the extras with a leading layer axis. `remat`: a key of `REMAT`.
    """
    graphdef, params = nnx.split(stack)

    def body(x: Any, scanned: tuple) -> tuple[Any, Any]:
        layer_params, value = scanned
        return step(nnx.merge(graphdef, layer_params), x, value)

    return jax.lax.scan(_rematted(body, remat), x, (params, per_layer))


def scan_kinds(
    stack: nnx.Module,
    step: Callable[[Any, Array, Any], Array],
    x: Array,
    kinds: Sequence[Any],
    *,
    remat: str,
) -> Array:
    """Runs `step(layer, x, kinds[i]) -> x` through a stack whose layers are of several kinds.

    Kinds are static, so each is compiled on its own, without a branch at run time: a scan over the
    periods of `kinds` (to compile a period, not the stack), in it a scan for each run of one kind.
    `remat`: a key of `REMAT`.
    """
    graphdef, params = nnx.split(stack)
    depth = len(kinds)
    period = next(
        size
        for size in range(1, depth + 1)
        if depth % size == 0 and tuple(kinds) == tuple(kinds[:size]) * (depth // size)
    )
    runs = [(kind, len(list(run))) for kind, run in itertools.groupby(kinds[:period])]

    def layer(x: Array, layer_params: nnx.State, kind: Any) -> tuple[Array, None]:
        return step(nnx.merge(graphdef, layer_params), x, kind), None

    def one_period(x: Array, params: nnx.State) -> tuple[Array, None]:
        start = 0
        for kind, length in runs:
            part = jax.tree.map(lambda p: p[start : start + length], params)  # noqa: B023
            body = _rematted(functools.partial(layer, kind=kind), remat)
            x, _ = jax.lax.scan(body, x, part)
            start += length
        return x, None

    cut = jax.tree.map(lambda p: p.reshape(depth // period, period, *p.shape[1:]), params)
    return jax.lax.scan(one_period, x, cut)[0]


def _rematted(body: Callable, remat: str) -> Callable:
    """A scan's body of which the backward pass keeps what `REMAT[remat]` says."""
    names = REMAT[remat]
    if names is None:
        return body
    policy = jax.checkpoint_policies.save_only_these_names(*names)
    # Inside a scan nothing can be merged back, so the (slow) guard against it is not needed.
    return jax.checkpoint(body, policy=policy, prevent_cse=False)
