"""Attention that the compiler would not know how to divide: each device computes its own rows and
heads."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import AbstractMesh, PartitionSpec


def per_device(
    local: Callable[[Array, Array, Array, Array], Array],
    q: Array,
    k: Array,
    v: Array,
    segment_ids: Array,
) -> Array:
    """local(q, k, v, segment_ids) on each device's share, under a mesh (`jax.set_mesh`); on
    everything without one. Arguments as in `attention.attention`."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.are_all_axes_manual:
        return local(q, k, v, segment_ids)
    rows = _axes(mesh, ("data", "fsdp"), q.shape[0])
    heads = _axes(mesh, ("tensor",), q.shape[2])
    if heads:
        k, v = (_repeat_heads(x, q.shape[2], mesh.shape["tensor"]) for x in (k, v))
    each, ids = PartitionSpec(rows, None, heads), PartitionSpec(rows)
    sharded = jax.shard_map(
        local, in_specs=(each, each, each, ids), out_specs=each, check_vma=False
    )
    return sharded(q, k, v, segment_ids)


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
