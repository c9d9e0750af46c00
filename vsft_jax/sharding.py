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

# 'context' stands beside 'data', so that the two can be seen as one: see `rows_only`.
AXES = ("data", "context", "fsdp", "tensor")


def make_mesh(shape: Mapping[str, int], devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A mesh of `AXES` over all devices; one axis may be -1 for "the rest", one left out is 1.

    Where the axes are no products of the chips' physical ones, they cut across their wiring.
    Several slices of TPUs lie along 'data', so that only sums of gradients pass the slow network
    between them.

    Raises ValueError when the shape does not use every device, or 'data' does not divide among
    slices.
    """
    devices = list(jax.devices() if devices is None else devices)
    sizes = [int(shape.get(axis, 1)) for axis in AXES]
    known = int(np.prod([s for s in sizes if s != -1]))
    if sizes.count(-1) == 1 and known > 0 and len(devices) % known == 0:
        sizes[sizes.index(-1)] = len(devices) // known
    if min(sizes) < 1 or int(np.prod(sizes)) != len(devices):
        raise ValueError(
            f"config.mesh = {dict(shape)} does not cover the {len(devices)} devices; "
            "the product of its axes must be the number of devices (one axis may be -1)"
        )
    types = (AxisType.Auto,) * len(AXES)
    tpus = [device for device in devices if device.platform == "tpu"]
    slices = len({getattr(device, "slice_index", 0) for device in tpus})
    if slices > 1:
        return Mesh(_over_slices(sizes, devices, slices), AXES, axis_types=types)
    try:
        return jax.make_mesh(tuple(sizes), AXES, axis_types=types, devices=devices)
    except NotImplementedError:
        placed = mesh_utils.create_device_mesh(sizes, devices, allow_split_physical_axes=True)
        return Mesh(placed, AXES, axis_types=types)


def _over_slices(sizes: list[int], devices: list[jax.Device], slices: int) -> np.ndarray:
    """The devices in the shape of a mesh whose first axis passes from slice to slice."""
    data, *others = sizes
    if data % slices:
        raise ValueError(
            f"config.mesh.data = {data}: expected a multiple of {slices}, since the devices are "
            f"{slices} slices of TPUs, and only data parallelism goes between them"
        )
    between = (slices, *[1] * len(others))
    return mesh_utils.create_hybrid_device_mesh(
        (data // slices, *others), between, devices, allow_split_physical_axes=True
    )


def rows_only(mesh: Mesh) -> Mesh:
    """The same devices in the same order, those that would share a row with rows of their own.

    For what has many short rows, such as answers to questions. Parameters have the same shards.
    """
    data, context, *others = mesh.devices.shape
    devices = mesh.devices.reshape(data * context, 1, *others)
    return Mesh(devices, AXES, axis_types=mesh.axis_types)


def on_mesh(tree: Any, mesh: Mesh) -> Any:
    """Parameters on another mesh of the same devices, such as `rows_only`: shared with the tree,
    not copied, where their shards stay the same."""
    return jax.tree.map(lambda x: jax.device_put(x, NamedSharding(mesh, x.sharding.spec)), tree)


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


def platform() -> str:
    """What the program being traced will run on: the mesh's platform, or the default one."""
    device = jax.sharding.get_abstract_mesh().abstract_device
    return jax.default_backend() if device is None else device.platform


def shard_rows(x: jax.Array) -> jax.Array:
    """Keeps an activation [B, L, …] split: its rows over the 'data' and 'fsdp' mesh axes, the
    positions of a row over 'context'.

    Without a mesh (`jax.set_mesh`), and for rows that do not divide evenly, x is returned as is;
    positions that do not are kept together.
    """
    mesh = jax.sharding.get_abstract_mesh()
    rows = row_axes(mesh, x.shape[0])
    if not rows:
        return x
    spec = PartitionSpec(rows, position_axis(mesh, x.shape[1]), *[None] * (x.ndim - 2))
    return jax.lax.with_sharding_constraint(x, spec)


def row_axes(mesh: Mesh | AbstractMesh, rows: int) -> tuple[str, ...]:
    """The mesh axes that batch rows are split over: 'data' and 'fsdp', or () for no mesh and for
    rows that do not divide evenly."""
    axes = tuple(axis for axis in ("data", "fsdp") if axis in mesh.axis_names)
    return axes if rows % math.prod(mesh.shape[axis] for axis in axes) == 0 else ()


def position_axis(mesh: Mesh | AbstractMesh, positions: int) -> str | None:
    """The mesh axis that the positions of a row are split over: 'context', or None where there is
    none and for positions that do not divide evenly. Shares are contiguous."""
    count = mesh.shape.get("context", 1)
    return "context" if count > 1 and positions % count == 0 else None


def batch_shards(mesh: Mesh) -> int:
    """In how many shares the rows of a batch are split."""
    return mesh.shape["data"] * mesh.shape["fsdp"]


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Rows are split over the data and fsdp axes."""
    return NamedSharding(mesh, PartitionSpec(("data", "fsdp")))


def field_sharding(mesh: Mesh, shape: Sequence[int]) -> NamedSharding:
    """Of a batch's array [B, L, …]: rows as by `batch_sharding`, positions over 'context'."""
    positions = position_axis(mesh, shape[1]) if len(shape) > 1 else None
    return NamedSharding(mesh, PartitionSpec(("data", "fsdp"), *[positions] if positions else []))


def local_rows(mesh: Mesh, rows: int) -> np.ndarray:
    """Which rows of a batch of `rows` lie on this process's devices: int64[b], ascending.

    They need not be neighbours, since a mesh follows the chips' wiring, and processes among which
    the 'context' and 'tensor' axes split a row all have it.
    """
    here = batch_sharding(mesh).addressable_devices_indices_map((rows,)).values()
    return np.unique(np.concatenate([np.arange(rows)[places] for places in here]))


def put_batch(arrays: Mapping[str, np.ndarray], mesh: Mesh, rows: int) -> dict[str, jax.Array]:
    """A process's `local_rows` of a batch of `rows` → global arrays [rows, …]."""
    here = local_rows(mesh, rows)

    def put(array: np.ndarray) -> jax.Array:
        shape = (rows, *array.shape[1:])
        sharding = field_sharding(mesh, shape)
        each = sharding.shard_shape(shape)[0]

        def shard(places: tuple[slice, ...] | None) -> np.ndarray:
            assert places is not None  # of an array that is split, a shard has a place
            first = np.searchsorted(here, places[0].start or 0)
            return array[(slice(first, first + each), *places[1:])]

        return jax.make_array_from_callback(shape, sharding, shard)

    return {name: put(array) for name, array in arrays.items()}
