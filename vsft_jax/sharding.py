"""Device mesh and where every array lives on it."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.experimental import mesh_utils
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec

from vsft_jax.parameters import path_string

AXES = ("data", "fsdp", "tensor")


def make_mesh(shape: Mapping[str, int], devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A ('data', 'fsdp', 'tensor') mesh over all devices; one axis may be -1 for "the rest".

    Where the axes are no products of the chips' physical ones, they cut across their wiring.
    Raises ValueError when the shape does not use every device.
    """
    devices = list(jax.devices() if devices is None else devices)
    sizes = [int(shape[axis]) for axis in AXES]
    known = int(np.prod([s for s in sizes if s != -1]))
    if sizes.count(-1) == 1 and known > 0 and len(devices) % known == 0:
        sizes[sizes.index(-1)] = len(devices) // known
    if min(sizes) < 1 or int(np.prod(sizes)) != len(devices):
        raise ValueError(
            f"config.mesh = {dict(shape)} does not cover the {len(devices)} devices; "
            "the product of its axes must be the number of devices (one axis may be -1)"
        )
    types = (AxisType.Auto,) * len(AXES)
    try:
        return jax.make_mesh(tuple(sizes), AXES, axis_types=types, devices=devices)
    except NotImplementedError:
        placed = mesh_utils.create_device_mesh(sizes, devices, allow_split_physical_axes=True)
        return Mesh(placed, AXES, axis_types=types)


def shardings(tree: Any, rules: Sequence[tuple[str, tuple]], mesh: Mesh | AbstractMesh) -> Any:
    """NamedShardings for a tree of parameters, or of optimiser state that mirrors parameters.

    rules: (regex, axes) pairs; the first whose regex is found in a leaf's path gives its axes. A
    mesh axis that does not divide its dimension splits another one of that leaf or none, so that
    every model runs on any mesh. Scalars are replicated. Raises ValueError for an array without a
    rule.
    """

    def leaf_sharding(path: tuple, leaf: Any) -> NamedSharding:
        if leaf.ndim == 0:
            return NamedSharding(mesh, PartitionSpec())
        name = path_string(path)
        for pattern, axes in rules:
            if re.search(pattern, name):
                return NamedSharding(mesh, PartitionSpec(*_divisible(axes, leaf.shape, mesh)))
        raise ValueError(f"no partition rule matches parameter {name!r} of shape {leaf.shape}")

    return jax.tree_util.tree_map_with_path(leaf_sharding, tree)


def _divisible(
    axes: tuple, shape: tuple[int, ...], mesh: Mesh | AbstractMesh
) -> list[tuple[str, ...] | None]:
    """The rule's axes where they divide; one that does not goes to another dimension if it can.

    A first dimension without an axis is a stack of layers and stays whole.
    """
    split: list[list[str]] = [[] for _ in shape]
    left: list[str] = []

    def fits(dimension: int, axis: str) -> bool:
        count = math.prod(mesh.shape[name] for name in (*split[dimension], axis))
        return shape[dimension] % count == 0

    for dimension, rule in enumerate(axes):
        for axis in rule if isinstance(rule, tuple) else (rule,) if rule else ():
            (split[dimension] if fits(dimension, axis) else left).append(axis)
    for axis in left:
        others = range(int(axes[0] is None), len(shape))
        free = [dimension for dimension in others if not split[dimension] and fits(dimension, axis)]
        if free:
            split[free[0]].append(axis)
    return [tuple(names) or None for names in split]


def with_shardings(
    shapes: Any, rules: Sequence[tuple[str, tuple]], mesh: Mesh | AbstractMesh
) -> Any:
    """ShapeDtypeStructs with the shardings that `shardings` gives them."""
    return jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
        shapes,
        shardings(shapes, rules, mesh),
    )


def abstract_model(
    build: Callable[[], nnx.Module], rules: Sequence[tuple[str, tuple]], mesh: Mesh
) -> tuple[nnx.GraphDef, nnx.State]:
    """A model's static structure and its parameters as sharded shapes; nothing is allocated."""
    found = []

    def split() -> nnx.State:
        graphdef, params = nnx.split(build())
        found.append(graphdef)
        return params

    shapes = jax.eval_shape(split)
    return found[0], with_shardings(shapes, rules, mesh)


def shard_rows(x: jax.Array) -> jax.Array:
    """Keeps the batch rows (axis 0) of an activation split over the 'data' and 'fsdp' mesh axes.

    Without a mesh (`jax.set_mesh`), and for rows that do not divide evenly, x is returned as is.
    """
    axes = row_axes(jax.sharding.get_abstract_mesh(), x.shape[0])
    if not axes:
        return x
    return jax.lax.with_sharding_constraint(x, PartitionSpec(axes, *[None] * (x.ndim - 1)))


def row_axes(mesh: AbstractMesh, rows: int) -> tuple[str, ...]:
    """The mesh axes that batch rows are split over: 'data' and 'fsdp', or () for no mesh and for
    rows that do not divide evenly."""
    axes = tuple(axis for axis in ("data", "fsdp") if axis in mesh.axis_names)
    return axes if rows % math.prod(mesh.shape[axis] for axis in axes) == 0 else ()


def batch_shards(mesh: Mesh) -> int:
    """Over how many devices the rows of a batch are split."""
    return mesh.shape["data"] * mesh.shape["fsdp"]


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Rows are split over the data and fsdp axes."""
    return NamedSharding(mesh, PartitionSpec(("data", "fsdp")))


def local_rows(mesh: Mesh, rows: int) -> np.ndarray:
    """Which rows of a batch of `rows` lie on this process's devices: int64[b], ascending.

    They need not be neighbours, since a mesh follows the chips' wiring, and processes among which
    the tensor axis splits a row all have it.
    """
    here = batch_sharding(mesh).addressable_devices_indices_map((rows,)).values()
    return np.unique(np.concatenate([np.arange(rows)[places] for places in here]))


def put_batch(arrays: Mapping[str, np.ndarray], mesh: Mesh, rows: int) -> dict[str, jax.Array]:
    """A process's `local_rows` of a batch of `rows` → global arrays [rows, …]."""
    sharding, here = batch_sharding(mesh), local_rows(mesh, rows)
    (each,) = sharding.shard_shape((rows,))

    def put(array: np.ndarray) -> jax.Array:
        def shard(places: tuple[slice, ...] | None) -> np.ndarray:
            assert places is not None  # of an array that is split, a shard has a place
            first = np.searchsorted(here, places[0].start or 0)
            return array[first : first + each]

        return jax.make_array_from_callback((rows, *array.shape[1:]), sharding, shard)

    return {name: put(array) for name, array in arrays.items()}
