"""A vision transformer over whole pictures, with a class token.

Follows transformers `models/dinov2/modeling_dinov2.py`.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from vsft_jax.models.dinov2.config import ModelConfig
from vsft_jax.models.shared.attention import attention
from vsft_jax.models.shared.block import Block
from vsft_jax.models.shared.layers import LayerNorm
from vsft_jax.models.shared.patch_embed import PatchEmbed
from vsft_jax.models.shared.stacks import make_blocks, scan_stack

_CUBIC = -0.75  # torch's choice of the free parameter of cubic convolution


class Dinov2(nnx.Module):
    """Raw pixels to features."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        width, param_dtype = config.width, config.param_dtype
        options: dict[str, Any] = dict(param_dtype=param_dtype, rngs=rngs)
        self.config = config
        self.patch_embed = PatchEmbed(config, bias=True, dtype=config.dtype, **options)
        init = nnx.initializers.normal(0.02)
        self.class_token = nnx.Param(init(rngs.params(), (1, 1, width), param_dtype))
        self.position = nnx.Param(init(rngs.params(), (1, config.grid**2 + 1, width), param_dtype))
        self.blocks = make_blocks(config.depth, config.block, **options)
        self.norm = LayerNorm(width, eps=config.norm_eps, param_dtype=param_dtype)

    def __call__(self, images: Array) -> Array:
        """Features of the class token, then of the patches row by row.

        Args:
            images: uint8[B, H, W, 3], RGB; sides are multiples of the patch size.

        Returns:
            float[B, 1 + N, D], normalised by the closing layer.
        """
        config = self.config
        rows, columns = (side // config.patch_size for side in images.shape[1:3])
        x = self.patch_embed(_patches(images, config.patch_size))
        first = jnp.broadcast_to(self.class_token[...], (len(x), 1, config.width))
        x = jnp.concatenate([first.astype(x.dtype), x], axis=1)
        x = x + self._positions(rows, columns).astype(x.dtype)
        segments = jnp.ones(x.shape[:2], jnp.int32)

        def attend(q: Array, k: Array, v: Array) -> tuple[Array, Any]:
            out = attention(q, k, v, segment_ids=segments, implementation=config.attention)
            return out, None

        def step(block: Block, x: Array, _: None) -> tuple[Array, Any]:
            return block(x, None, attend)[:2]

        return self.norm(scan_stack(self.blocks, step, x, remat=config.remat)[0])

    def _positions(self, rows: int, columns: int) -> Array:
        """float[1, 1 + rows * columns, D]: the learned ones, interpolated to another grid."""
        learned, grid = self.position[...], self.config.grid
        if (rows, columns) == (grid, grid):
            return learned
        table = learned[:, 1:].reshape(grid, grid, -1).astype(jnp.float32)
        down, across = (cubic_weights(grid, size) for size in (rows, columns))
        table = jnp.einsum("rg,ch,ghd->rcd", down, across, table)
        return jnp.concatenate([learned[:, :1], table.reshape(1, rows * columns, -1)], axis=1)


def _patches(images: Array, side: int) -> Array:
    """[B, H, W, 3] -> [B, N, 3 * side * side], columns ordered (channel, row, column)."""
    count, height, width, _ = images.shape
    grid = images.reshape(count, height // side, side, width // side, side, 3)
    return grid.transpose(0, 1, 3, 5, 2, 4).reshape(count, -1, 3 * side * side)


def cubic_weights(source: int, target: int) -> np.ndarray:
    """float32[target, source]: cubic convolution from one number of samples to another.

    Pixel centres correspond (half a sample from the edge), the edge samples repeat outside, and
    shrinking does not smooth: torch's bicubic `interpolate` with align_corners=False.
    """
    centres = (np.arange(target) + 0.5) * (source / target) - 0.5
    weights = np.zeros((target, source), np.float32)
    for row, centre in enumerate(centres):
        for tap in range(int(np.floor(centre)) - 1, int(np.floor(centre)) + 3):
            weights[row, min(max(tap, 0), source - 1)] += _cubic(abs(centre - tap))
    return weights


def _cubic(distance: float) -> float:
    """Keys' kernel (1981) at a distance in samples, 0 to 2."""
    d, a = distance, _CUBIC
    if d <= 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * (d**3 - 5 * d**2 + 8 * d - 4) if d < 2 else 0.0
