"""`grouped_product` by the TPU's kernels, megablox of the JAX repository, and their tiles."""

import functools

import jax
import jax.numpy as jnp
from jax import Array
from jax.experimental.pallas.ops.tpu.megablox.gmm import gmm, tgmm

# Rows of the TPU kernel's tiles. A tile in which a group ends is computed again for the next one,
# so a group has about four of them, within these bounds.
_ROWS = (128, 512)
# Numbers in a tile of a group's matrix; with all of its inputs in a tile it is fetched once.
_TILE = 2**21
_SIDE = 1024  # of a tile of its gradient


def by_tiles(x: Array, kernels: Array, sizes: Array, *, interpret: bool) -> Array:
    """`grouped_product` by the TPU's kernels. interpret: step by step, on any machine."""
    rows, experts = x.shape[0], kernels.shape[0]
    tile = tile_rows(rows, experts)
    padded = jnp.pad(x, ((0, -rows % tile), (0, 0)))
    # The rows behind are a group without a matrix, for which the kernels write zeros.
    sizes = jnp.append(sizes, padded.shape[0] - sizes.sum())
    return _product(padded, kernels, sizes, tile, interpret)[:rows]


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _product(x: Array, kernels: Array, sizes: Array, tile: int, interpret: bool) -> Array:
    tiles = (tile, *tile_sides(*kernels.shape[1:]))
    return gmm(x, kernels, sizes, x.dtype, tiles, _first(), interpret=interpret)


def _product_forward(
    x: Array, kernels: Array, sizes: Array, tile: int, interpret: bool
) -> tuple[Array, tuple[Array, ...]]:
    return _product(x, kernels, sizes, tile, interpret), (x, kernels, sizes)


def _product_backward(
    tile: int, interpret: bool, kept: tuple[Array, ...], g: Array
) -> tuple[Array, Array, None]:
    x, kernels, sizes = kept
    _, inputs, outputs = kernels.shape
    tiles = (tile, *tile_sides(outputs, inputs))
    to_x = gmm(g, kernels, sizes, x.dtype, tiles, _first(), transpose_rhs=True, interpret=interpret)
    tiles = (tile, min(inputs, _SIDE), min(tile_sides(inputs, outputs)[1], _SIDE))
    to_kernels = tgmm(
        *(x.swapaxes(0, 1), g, sizes, kernels.dtype, tiles, _first()),
        num_actual_groups=kernels.shape[0],
        interpret=interpret,
    )
    return to_x, to_kernels, None


_product.defvjp(_product_forward, _product_backward)


def tile_rows(rows: int, experts: int) -> int:
    """Rows of a tile of the TPU's kernels for so many rows in so many groups."""
    low, high = _ROWS
    return min(high, max(low, 1 << (rows // experts // 4).bit_length() - 1))


def tile_sides(inputs: int, outputs: int) -> tuple[int, int]:
    """Inputs and outputs in a tile of a group's matrix. Tiles of outputs are an even number of
    them, since a chip's two cores share these."""
    inputs = min(inputs, _TILE // 256)
    tiles = 2 * -(-inputs * outputs // (2 * _TILE))
    return inputs, min(outputs, -(-outputs // (128 * tiles)) * 128)


def _first() -> Array:
    return jnp.zeros((), jnp.int32)
