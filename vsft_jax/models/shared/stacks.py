"""Stacks of like layers: how they are built and run, and what the backward pass keeps of them."""

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
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
    depth, period = len(kinds), _period(kinds)
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


def scan_mixed(
    stacks: Mapping[str, nnx.Module],
    step: Callable[[str, Any, Any, Any], tuple[Any, Any]],
    x: Any,
    order: Sequence[str],
    per_layer: Any = None,
    *,
    remat: str,
    last_only: bool = False,
) -> tuple[Any, dict[str, Any]]:
    """Runs `step(kind, layer, x, (place, per_layer[i])) -> (x, extra)` through layers of several
    kinds, each kind a stack of its own by `make_stack`, because their shapes differ.

    Compiled like `scan_kinds`.

    Args:
        order: the kind of each layer; every stack is used up. place: of a layer in its stack.
        per_layer: arrays with a leading layer axis, in that order.
        remat: a key of `REMAT`.
        last_only: return the extra of each kind's last layer alone. No more than a period's are
            held at a time.

    Returns:
        The last x, and the extras by kind with a leading layer axis.
    """
    split = {kind: nnx.split(stacks[kind]) for kind in dict.fromkeys(order)}
    depth, period = len(order), _period(order)
    periods, first = depth // period, tuple(order[:period])
    runs = [(kind, len(list(run))) for kind, run in itertools.groupby(first)]

    def cut(tree: Any, size: int) -> Any:
        return jax.tree.map(lambda p: p.reshape(periods, size, *p.shape[1:]), tree)

    layers = {
        kind: cut((params, jnp.arange(order.count(kind))), first.count(kind))
        for kind, (_, params) in split.items()
    }

    def layer(x: Any, scanned: tuple, kind: str) -> tuple[Any, Any]:
        (params, place), value = scanned
        return step(kind, nnx.merge(split[kind][0], params), x, (place, value))

    def one_period(carry: Any, scanned: tuple) -> tuple[Any, Any]:
        (x, _), (layers, values) = carry, scanned
        found: dict[str, list[Any]] = {kind: [] for kind in split}
        start, starts = 0, dict.fromkeys(split, 0)
        for kind, length in runs:
            at = starts[kind]
            part = jax.tree.map(lambda p: p[at : at + length], layers[kind])  # noqa: B023
            value = jax.tree.map(lambda p: p[start : start + length], values)  # noqa: B023
            body = _rematted(functools.partial(layer, kind=kind), remat)
            x, extra = jax.lax.scan(body, x, (part, value))
            found[kind].append(extra)
            start, starts[kind] = start + length, at + length
        if last_only:
            return (x, {k: jax.tree.map(lambda p: p[-1:], v[-1]) for k, v in found.items()}), None
        return (x, None), {
            kind: jax.tree.map(lambda *p: jnp.concatenate(p), *extras)
            for kind, extras in found.items()
        }

    scanned = (layers, cut(per_layer, period))
    # What the last layers leave is carried, not stacked: the backward pass need not keep it.
    before = None
    if last_only:
        one = jax.tree.map(lambda p: p[0], scanned)
        shapes = jax.eval_shape(lambda x: one_period((x, None), one)[0][1], x)
        before = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    (x, last), extras = jax.lax.scan(one_period, (x, before), scanned)
    if last_only:
        return x, last or {}
    return x, jax.tree.map(lambda p: p.reshape(-1, *p.shape[2:]), extras)


def _period(kinds: Sequence[Any]) -> int:
    """Layers after which their kinds repeat."""
    depth, found = len(kinds), tuple(kinds)
    return next(
        size
        for size in range(1, depth + 1)
        if depth % size == 0 and found == found[:size] * (depth // size)
    )


def _rematted(body: Callable, remat: str) -> Callable:
    """A scan's body of which the backward pass keeps what `REMAT[remat]` says."""
    names = REMAT[remat]
    if names is None:
        return body
    policy = jax.checkpoint_policies.save_only_these_names(*names)
    # Inside a scan nothing can be merged back, so the (slow) guard against it is not needed.
    return jax.checkpoint(body, policy=policy, prevent_cse=False)
