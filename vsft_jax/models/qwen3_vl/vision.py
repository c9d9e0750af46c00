"""Vision tower and projector of Qwen3-VL.

The merge_size² patches of a visual token are neighbours (see `Batch` in
input_pipeline/batches), so merging is a reshape. Follows transformers
`models/qwen3_vl/modeling_qwen3_vl.py`; the features taken from inside the tower are DeepStack
(arXiv 2406.04334).
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from vsft_jax.models.qwen3_vl.config import ModelConfig
from vsft_jax.models.shared.attention import attention
from vsft_jax.models.shared.block import Block
from vsft_jax.models.shared.layers import LayerNorm, Linear, Rotary, rotary_frequencies
from vsft_jax.models.shared.patch_embed import PatchEmbed
from vsft_jax.models.shared.stacks import make_blocks, make_stack, scan_stack
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

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        vision, param_dtype = config.vision, config.param_dtype
        options: dict[str, Any] = dict(param_dtype=config.param_dtype, rngs=rngs)
        self.config = config
        self.patch_embed = PatchEmbed(vision, bias=True, dtype=config.dtype, **options)
        init = nnx.initializers.normal(vision.width**-0.5)
        shape = (vision.position_side**2, vision.width)
        self.position = nnx.Param(init(rngs.params(), shape, param_dtype))
        self.blocks = make_blocks(vision.depth, vision.block, **options)

    def __call__(self, patches: Array, coords: Array, frame_ids: Array) -> tuple[Array, Array]:
        """Runs the tower.

        Args:
            patches: uint8[B, N, C] raw pixels.
            coords: int[B, N, 4], see `position_weights`.
            frame_ids: int[B, N], temporal grid of the patch, 0 = padding.

        Returns:
            float[B, N, D] after the last layer and float[S, B, N, D] after `deepstack_layers`.
        """
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

        # Every layer writes its output into the slot of the next layer to be tapped, whose own
        # output is the last to arrive there. Layers after the last tap share a slot that is cut
        # off. The alternative, one output a layer, would hold all of them.
        taps = len(vision.deepstack_layers)
        slots = np.searchsorted(vision.deepstack_layers, np.arange(vision.depth))

        def step(
            block: Block, carry: tuple[Array, Array], slot: Array
        ) -> tuple[tuple[Array, Array], None]:
            x, tapped = carry
            x, *_ = block(shard_rows(x), rotary, attend)
            return (x, jax.lax.dynamic_update_index_in_dim(tapped, x, slot, 0)), None

        x = shard_rows(self.patch_embed(patches) + self._positions(coords))
        carry = x, jnp.zeros((taps + 1, *x.shape), x.dtype)
        (x, tapped), _ = scan_stack(
            self.blocks, step, carry, jnp.asarray(slots), remat=config.remat_of_tower
        )
        return x, tapped[:taps]

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

    def __init__(self, config: ModelConfig, *, norm_merged: bool, rngs: nnx.Rngs):
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

    def merge(self, x: Array) -> Array:
        """x: float[B, N, D_vision] -> float[B, M, D_text]."""
        x = x if self.norm_merged else self.norm(x)
        x = x.reshape(x.shape[0], -1, self.config.vision.merged_width)
        x = self.norm(x) if self.norm_merged else x
        return self.fc2(jax.nn.gelu(self.fc1(x), approximate=False))


class Projector(Merger):
    """The merger of the tower's output, and one more for each tapped layer."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        super().__init__(config, norm_merged=False, rngs=rngs)

        def make_merger(rngs: nnx.Rngs) -> Merger:
            return Merger(config, norm_merged=True, rngs=rngs)

        self.deepstack = make_stack(len(config.vision.deepstack_layers), make_merger, rngs)

    def __call__(self, x: Array, tapped: Array) -> tuple[Array, Array]:
        """x: float[B, N, D_vision], tapped: float[S, B, N, D_vision], from the tower ->
        float[B, M, D_text], float[S, B, M, D_text]."""

        def step(merger: Merger, carry: None, x: Array) -> tuple[None, Array]:
            return carry, shard_rows(merger.merge(shard_rows(x)))

        _, stacked = scan_stack(
            self.deepstack, step, None, tapped, remat=self.config.remat_of_tower
        )
        return shard_rows(self.merge(x)), stacked
