"""Vision tower and projector of Qwen2.5-VL.

Patches come in window order from the host (see `Batch` in input_pipeline/batches): every
attention window and every temporal grid is a contiguous run, and the merge_size² patches of a
visual token are neighbours. So nothing is permuted here, and merging is a reshape.
Follows transformers `models/qwen2_5_vl/modeling_qwen2_5_vl.py`.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from vsft_jax.models.qwen2_5_vl.config import ModelConfig
from vsft_jax.models.shared.attention import attention
from vsft_jax.models.shared.block import Block
from vsft_jax.models.shared.layers import Linear, RMSNorm, Rotary, rotary_frequencies
from vsft_jax.models.shared.patch_embed import PatchEmbed
from vsft_jax.models.shared.stacks import make_blocks, scan_kinds
from vsft_jax.sharding import shard_rows


class VisionTower(nnx.Module):
    """Patches to patch features, before merging."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        vision = config.vision
        options: dict[str, Any] = dict(param_dtype=config.param_dtype, rngs=rngs)
        self.config = config
        self.patch_embed = PatchEmbed(vision, bias=False, dtype=config.dtype, **options)
        self.blocks = make_blocks(vision.depth, vision.block, **options)

    def __call__(self, patches: Array, coords: Array, frame_ids: Array, window_ids: Array) -> Array:
        """Runs the tower.

        Args:
            patches: uint8[B, N, C] raw pixels.
            coords: int[B, N, 2], row and column of the patch inside its frame.
            frame_ids: int[B, N], temporal grid of the patch, 0 = padding.
            window_ids: int[B, N], attention window of the patch, 0 = padding.

        Returns:
            float[B, N, D].
        """
        config, vision = self.config, self.config.vision
        frequencies = rotary_frequencies(vision.head_dim // 2, vision.rope_theta)
        angles = coords[..., None].astype(jnp.float32) * frequencies
        rotary = Rotary.of(angles.reshape(*coords.shape[:2], -1))
        is_full = [i in vision.fullatt_block_indexes for i in range(vision.depth)]

        def step(block: Block, x: Array, full: bool) -> Array:
            def attend(q: Array, k: Array, v: Array) -> tuple[Array, Any]:
                out = attention(
                    q,
                    k,
                    v,
                    segment_ids=frame_ids if full else window_ids,
                    max_segment_length=None if full else vision.window_patches,
                    within_share=True,
                    implementation=config.attention,
                )
                return out, None

            return block(shard_rows(x), rotary, attend)[0]

        x = shard_rows(self.patch_embed(patches))
        return scan_kinds(self.blocks, step, x, is_full, remat=config.remat_of_tower)


class Merger(nnx.Module):
    """The projector: merge_size² neighbouring patches to one visual token of the LLM."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        vision = config.vision
        merged = vision.width * vision.merge_size**2
        options: dict[str, Any] = dict(bias=True, param_dtype=config.param_dtype, rngs=rngs)
        self.norm = RMSNorm(vision.width, eps=vision.norm_eps, param_dtype=config.param_dtype)
        self.fc1 = Linear(merged, merged, **options)
        self.fc2 = Linear(merged, config.text.width, **options)

    def __call__(self, x: Array) -> Array:
        """x: float[B, N, D_vision] -> float[B, M, D_text]."""
        x = self.norm(x).reshape(x.shape[0], -1, self.fc1.kernel.shape[0])
        return self.fc2(jax.nn.gelu(self.fc1(x), approximate=False))
