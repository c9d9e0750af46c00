"""Weights of a Hugging Face directory, straight into a sharded model.

Every process reads the bytes of its own device shards and no others; a shard is put together from
slices of the checkpoint's tensors, cast, sent to its devices and forgotten, so the host needs the
memory of one shard. Which tensors make up which parameter is the family's table
(vsft_jax/models/shared/hf/table.py).
"""

import math
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from input_pipeline.progress import Progress
from vsft_jax.huggingface.files import HFError, SafetensorsReader, read_json
from vsft_jax.huggingface.stacked import Read, stacked
from vsft_jax.huggingface.tensors import (
    Location,
    Piece,
    check_tied,
    locate,
    match,
    parameter_shapes,
    params_from_hf,
    path_names,
    upright,
)
from vsft_jax.models import PortedModel
from vsft_jax.models.shared.hf.table import HEAD, embedding_of
from vsft_jax.parameters import not_finite

# Bytes of the checkpoint's that are read at a time. Some memory is needed beside the shard for
# each thread's piece; small pieces also stay in the processor's cache while they are transposed.
_LARGEST_PIECE, _SMALLEST_PIECE = 2 << 20, 1 << 16
_THREADS = min(16, os.cpu_count() or 1)


def load_params(
    family: PortedModel, config: Any, directory: str | Path, abstract: nnx.State
) -> nnx.State:
    """Parameters of a directory's safetensors files, in their places on the devices.

    Args:
        family: of the model.
        config: its ModelConfig, which the checkpoint must fit.
        directory: of the checkpoint; see `vsft_jax.huggingface.files.local_directory` for hub ids.
        abstract: what to make: ShapeDtypeStructs with shardings, by
            `vsft_jax.sharding.abstract_model`. Values are cast to their dtypes.

    Returns:
        `abstract` with arrays in it.

    Raises:
        HFError: files are missing or broken, tensors are missing, unknown or mis-shaped (all are
            listed), a stored head differs from the embedding it is tied to, or values are not
            finite.
    """
    with SafetensorsReader(directory) as reader, ThreadPoolExecutor(_THREADS) as pool:
        table = family.checkpoint_table(config)
        there, read_there = stacked(reader.shapes, reader.read)
        try:
            given = match(family, config, there, source=str(directory))
            if HEAD in given.keys() - {name for row in table for name in row.names()}:
                check_tied(_equal(reader, given[HEAD], given[embedding_of(given)]), given)
        except ValueError as error:
            raise HFError(str(error)) from error
        shapes = parameter_shapes(family, config)
        found = locate(table, shapes)
        largest = max(_shard_bytes(leaf) for leaf in jax.tree.leaves(abstract))
        stored = {name: there[theirs] for name, theirs in given.items()}
        read = upright(lambda name, index: read_there(given[name], index), table, shapes, stored)
        loader = _Loader(read, pool, largest)
        total = sum(_shard_bytes(leaf) * len(_shards(leaf)) for leaf in jax.tree.leaves(abstract))
        with Progress(f"read {Path(directory).name}", total >> 20, unit="MB") as progress:

            def load(path: tuple, leaf: jax.ShapeDtypeStruct) -> jax.Array:
                array = loader.load(leaf, found[path_names(path)])
                progress.reach(loader.loaded >> 20)
                return array

            params = jax.tree_util.tree_map_with_path(load, abstract)
    if bad := not_finite(params):
        raise HFError(f"{directory} is of no use: {bad} (NaN or infinity)")
    return params


def load_on_one_device(kind: PortedModel, directory: str | Path, **compute: Any) -> nnx.Module:
    """A small model of a directory, on the default device. compute: fields of `Compute`.

    Raises HFError for a directory that does not hold one.
    """
    directory = Path(directory)
    try:
        config = kind.from_hf(read_json(directory / "config.json"), **compute)
        with SafetensorsReader(directory) as reader:
            tensors = {
                name: reader.read(name, tuple(slice(0, size) for size in shape))
                for name, shape in reader.shapes.items()
            }
        params = params_from_hf(kind, config, tensors)
    except HFError:
        raise
    except ValueError as error:
        raise HFError(f"{directory}: {error}") from error
    model = nnx.eval_shape(lambda: kind.model(config, rngs=nnx.Rngs(0)))
    return nnx.merge(nnx.graphdef(model), params)


class _Loader:
    """Puts parameters together in one buffer, which each shard overwrites when it is used up."""

    def __init__(self, read: Read, pool: ThreadPoolExecutor, largest: int):
        """largest: bytes of the largest shard."""
        self._read, self._pool = read, pool
        self.loaded = 0  # bytes of shards
        # Off the alignment at which XLA takes a host array over as a CPU device's memory instead
        # of copying it: `may_alias=False` does not keep it from that for arrays of numpy.
        memory = np.empty(largest + 128, np.uint8)
        self._buffer = memory[-memory.ctypes.data % 64 + 8 :]

    def load(self, like: jax.ShapeDtypeStruct, location: Location) -> jax.Array:
        """One parameter, a shard at a time."""
        arrays = []
        for index, devices in _shards(like).items():
            shard = self._buffer[: _shard_bytes(like)].view(like.dtype)
            shard = shard.reshape(like.sharding.shard_shape(like.shape))
            self._fill(shard, location, tuple(slice(*bounds) for bounds in index))
            copies = [jax.device_put(shard, device, may_alias=False) for device in devices]
            arrays += jax.block_until_ready(copies)
            self.loaded += shard.nbytes
        return jax.make_array_from_single_device_arrays(like.shape, like.sharding, arrays)

    def _fill(self, shard: np.ndarray, location: Location, index: tuple[slice, ...]) -> None:
        def fill(piece: Piece) -> None:
            shard[piece.target] = location.read(piece, self._read)

        for _ in self._pool.map(fill, location.pieces(index, _rows(location, shard))):
            pass


def _shards(like: jax.ShapeDtypeStruct) -> dict[tuple, list[jax.Device]]:
    """This process's different shards: (start, stop) along each axis -> the devices with it."""
    shards: dict[tuple, list[jax.Device]] = {}
    for device, index in like.sharding.addressable_devices_indices_map(like.shape).items():
        bounds = tuple(s.indices(n)[:2] for s, n in zip(index, like.shape, strict=True))
        shards.setdefault(bounds, []).append(device)
    return shards


def _shard_bytes(like: jax.ShapeDtypeStruct) -> int:
    return math.prod(like.sharding.shard_shape(like.shape)) * like.dtype.itemsize


def _rows(location: Location, shard: np.ndarray) -> int:
    """Rows of the checkpoint's tensor to read at a time."""
    sizes = shard.shape[1:] if location.tensor.depth else shard.shape
    row = math.prod(sizes) // sizes[-1 if location.tensor.transpose else 0] * shard.itemsize
    piece = min(max(shard.nbytes // (32 * _THREADS), _SMALLEST_PIECE), _LARGEST_PIECE)
    return max(1, piece // row)


def _equal(reader: SafetensorsReader, one: str, other: str) -> bool:
    """Whether two matrices of a checkpoint are the same; each process looks at its own rows."""
    rows, columns = reader.shapes[one]
    share = np.linspace(0, rows, jax.process_count() + 1).astype(int)
    start, stop = share[jax.process_index() : jax.process_index() + 2]
    step = max(1, _LARGEST_PIECE // (columns * reader.itemsizes[one]))
    for first in range(start, stop, step):
        index = (slice(first, min(first + step, stop)), slice(0, columns))
        if not np.array_equal(reader.read(one, index), reader.read(other, index)):
            return False
    return True
