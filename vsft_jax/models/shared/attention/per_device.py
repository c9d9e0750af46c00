"""Attention that the compiler would not know how to divide: each device computes its own rows,
heads and queries."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import AbstractMesh, PartitionSpec

from vsft_jax.sharding import position_axis

# (q, k, v, segment ids of the queries, of the keys, how far queries look ahead, place of the first
# query among the keys).
Local = Callable[[Array, Array, Array, Array, Array, Array | None, Array | int], Array]


def per_device(
    local: Local,
    q: Array,
    k: Array,
    v: Array,
    segment_ids: Array,
    ahead: Array | None,
    *,
    within_share: bool,
) -> Array:
    """`local` on each device's share, under a mesh (`jax.set_mesh`); on everything without one.

    Where the 'context' axis splits rows, a device has a share of a row's queries. It gathers the
    keys and values of the whole row, which grouped heads make small, unless no segment leaves its
    share. Arguments as in `attention.attention`.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.are_all_axes_manual:
        return local(q, k, v, segment_ids, segment_ids, ahead, 0)
    rows = _axes(mesh, ("data", "fsdp"), q.shape[0])
    heads = _axes(mesh, ("tensor",), q.shape[2])
    positions = position_axis(mesh, q.shape[1])
    if heads:
        k, v = (_repeat_heads(x, q.shape[2], mesh.shape["tensor"]) for x in (k, v))

    def on_device(q: Array, k: Array, v: Array, ids: Array, ahead: Array | None) -> Array:
        if positions is None or within_share:
            return local(q, k, v, ids, ids, ahead, 0)
        k, v, all_ids = (jax.lax.all_gather(x, positions, axis=1, tiled=True) for x in (k, v, ids))
        first = jax.lax.axis_index(positions) * q.shape[1]
        return local(q, k, v, ids, all_ids, ahead, first)

    each, ids = PartitionSpec(rows, positions, heads), PartitionSpec(rows, positions)
    sharded = jax.shard_map(
        on_device, in_specs=(each, each, each, ids, ids), out_specs=each, check_vma=False
    )
    return sharded(q, k, v, segment_ids, ahead)


def _axes(mesh: AbstractMesh, names: tuple[str, ...], size: int) -> tuple[str, ...] | None:
    """The named mesh axes if a dimension of this size can be split over them."""
    found = tuple(name for name in names if name in mesh.axis_names)
    count = math.prod(mesh.shape[name] for name in found)
    return found if found and size % count == 0 else None


def _repeat_heads(x: Array, heads: int, shards: int) -> Array:
    """Repeats keys' or values' heads until each shard has those that its queries need."""
    shared = math.lcm(x.shape[2], shards)
    # Where the queries' heads cannot be grouped like that, each gets keys of its own.
    repeats = (shared if heads % shared == 0 else heads) // x.shape[2]
    return x if repeats == 1 else jnp.repeat(x, repeats, axis=2)
