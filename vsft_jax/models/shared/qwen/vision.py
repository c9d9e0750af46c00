"""Vision tower and merger of Qwen3-VL and Qwen3.5.

The merge_size² patches of a visual token are neighbours (see `Batch` in
input_pipeline/batches), so merging is a reshape. Follows transformers
`models/qwen3_vl/modeling_qwen3_vl.py`.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from vsft_jax.models.shared.attention import attention
from vsft_jax.models.shared.block import Block
from vsft_jax.models.shared.layers import LayerNorm, Linear, Rotary, rotary_frequencies
from vsft_jax.models.shared.patch_embed import PatchEmbed
from vsft_jax.models.shared.qwen.config import PositionedModelConfig
from vsft_jax.models.shared.stacks import make_blocks, scan_stack
from vsft_jax.sharding import shard_rows


def position_weights(coords: Array, side: int) -> Array:
    """How much of each learned position a patch gets: bilinear interpolation of a square grid
    whose corners lie on the corner patches of the frame.

    Bilinear weights are a product of two hat functions, so the interpolation is one matrix product
    with the table. Compared with gathering four rows a patch, its gradient needs no scatter, and a
    batch carries only where a patch is, whatever sizes of frames it mixes.

    Args:
        coords: int[..., 4], row and column of the patch, height and width of its frame in patches.
        side: of the grid.

    Returns:
        float32[..., side²].
    """
    last = jnp.maximum(coords[..., 2:] - 1, 1)
    place = coords[..., :2].astype(jnp.float32) * (side - 1) / last.astype(jnp.float32)
    hats = jnp.maximum(1 - jnp.abs(place[..., None] - jnp.arange(side)), 0)
    weights = hats[..., 0, :, None] * hats[..., 1, None, :]
    return weights.reshape(*coords.shape[:-1], side**2)


class VisionTower(nnx.Module):
    """Patches to patch features, before merging."""

    def __init__(self, config: PositionedModelConfig, *, rngs: nnx.Rngs):
        vision, param_dtype = config.vision, config.param_dtype
        options: dict[str, Any] = dict(param_dtype=config.param_dtype, rngs=rngs)
        self.config = config
        self.patch_embed = PatchEmbed(vision, bias=True, dtype=config.dtype, **options)
        init = nnx.initializers.normal(vision.width**-0.5)
        shape = (vision.position_side**2, vision.width)
        self.position = nnx.Param(init(rngs.params(), shape, param_dtype))
        self.blocks = make_blocks(vision.depth, vision.block, **options)

    def __call__(self, patches: Array, coords: Array, frame_ids: Array) -> Array:
        """Runs the tower.

        Args:
            patches: uint8[B, N, C] raw pixels.
            coords: int[B, N, 4], see `position_weights`.
            frame_ids: int[B, N], temporal grid of the patch, 0 = padding.

        Returns:
            float[B, N, D] after the last layer.
        """
        x, layer = self.begin(patches, coords, frame_ids)

        def step(block: Block, x: Array, _: None) -> tuple[Array, None]:
            return layer(block, x), None

        return scan_stack(self.blocks, step, x, remat=self.config.remat_of_tower)[0]

    def begin(
        self, patches: Array, coords: Array, frame_ids: Array
    ) -> tuple[Array, Callable[[Block, Array], Array]]:
        """Input of the first layer, float[B, N, D], and what a layer makes of its input; arguments
        as of `__call__`."""
        config, vision = self.config, self.config.vision
        frequencies = rotary_frequencies(vision.head_dim // 2, vision.rope_theta)
        angles = coords[..., :2, None].astype(jnp.float32) * frequencies
        rotary = Rotary.of(angles.reshape(*coords.shape[:2], -1))

        def attend(q: Array, k: Array, v: Array) -> tuple[Array, Any]:
            out = attention(
                q,
                k,
                v,
                segment_ids=frame_ids,
                within_share=True,
                implementation=config.attention,
            )
            return out, None

        def layer(block: Block, x: Array) -> Array:
            return block(shard_rows(x), rotary, attend)[0]

        return shard_rows(self.patch_embed(patches) + self._positions(coords)), layer

    def _positions(self, coords: Array) -> Array:
        """The learned position of every patch: float[B, N, D]."""

        # Made again in the backward pass, where they are wanted: side² values a patch.
        @jax.checkpoint
        def interpolate(table: Array) -> Array:
            weights = position_weights(coords, self.config.vision.position_side)
            return weights.astype(table.dtype) @ table

        return interpolate(self.position[...].astype(self.config.dtype))


class Merger(nnx.Module):
    """merge_size² neighbouring patches to one visual token of the language model."""

    def __init__(self, config: PositionedModelConfig, *, rngs: nnx.Rngs, norm_merged: bool = False):
        """norm_merged: normalise the merged patches as one vector instead of each patch."""
        vision, param_dtype = config.vision, config.param_dtype
        merged = vision.merged_width
        norm_width = merged if norm_merged else vision.width
        options: dict[str, Any] = dict(bias=True, param_dtype=param_dtype, rngs=rngs)
        self.norm = LayerNorm(norm_width, eps=vision.norm_eps, param_dtype=param_dtype)
        self.fc1 = Linear(merged, merged, **options)
        self.fc2 = Linear(merged, config.text.width, **options)
        self.norm_merged = norm_merged
        self.config = config

    def __call__(self, x: Array) -> Array:
        """x: float[B, N, D_vision] -> float[B, M, D_text]."""
        x = x if self.norm_merged else self.norm(x)
        x = x.reshape(x.shape[0], -1, self.config.vision.merged_width)
        x = self.norm(x) if self.norm_merged else x
        return shard_rows(self.fc2(jax.nn.gelu(self.fc1(x), approximate=False)))
