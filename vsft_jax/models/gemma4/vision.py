"""Vision tower and projector of Gemma 4.

The merge_size² patches of a visual token are neighbours (see `Batch` in input_pipeline/batches), so
averaging them is a reshape. Follows transformers `models/gemma4/modeling_gemma4.py`.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.ad_checkpoint import checkpoint_name

from vsft_jax.models.gemma4.config import ModelConfig, VisionConfig
from vsft_jax.models.gemma4.layers import (
    AroundNorms,
    ClippedLinear,
    heads,
    linear_options,
    normalise,
    unscaled,
)
from vsft_jax.models.shared.attention import attention
from vsft_jax.models.shared.layers import Linear, Mlp, RMSNorm, Rotary, rotary_frequencies
from vsft_jax.models.shared.patch_embed import PatchEmbed
from vsft_jax.models.shared.stacks import make_stack, scan_stack
from vsft_jax.sharding import shard_rows


class Layer(AroundNorms):
    """One layer of the tower."""

    def __init__(self, vision: VisionConfig, *, param_dtype: str, rngs: nnx.Rngs):
        super().__init__(vision.width, eps=vision.norm_eps, param_dtype=param_dtype)
        options = linear_options(param_dtype, rngs)
        linear = ClippedLinear if vision.clipped else Linear
        inner, kv_inner = (count * vision.head_dim for count in (vision.heads, vision.kv_heads))

        def head_norm() -> RMSNorm:
            return RMSNorm(vision.head_dim, eps=vision.norm_eps, param_dtype=param_dtype)

        self.q, self.q_norm = linear(vision.width, inner, **options), head_norm()
        self.k, self.k_norm = linear(vision.width, kv_inner, **options), head_norm()
        self.v = linear(vision.width, kv_inner, **options)
        self.o = linear(inner, vision.width, **options)
        self.mlp = Mlp(
            *(vision.width, vision.mlp_width),
            activation="gelu_tanh",
            gated=True,
            linear=linear,
            **options,
        )
        self.head_dim, self.eps = vision.head_dim, vision.norm_eps

    def __call__(self, x: Array, rotary: Rotary, frame_ids: Array, implementation: str) -> Array:
        """x: float[B, N, D] -> float[B, N, D]. rotary: of the two halves of a head."""

        def turned(linear: Linear, norm: RMSNorm) -> Array:
            each = norm(heads(linear, y, self.head_dim))
            halves = each.reshape(*each.shape[:-1], 2, self.head_dim // 2)
            return rotary(halves).reshape(each.shape)

        y = self.norm1(x)
        q, k = unscaled(turned(self.q, self.q_norm)), turned(self.k, self.k_norm)
        v = normalise(heads(self.v, y, self.head_dim), self.eps)
        q, k, v = (checkpoint_name(each, "qkv") for each in (q, k, v))
        out = attention(
            q, k, v, segment_ids=frame_ids, within_share=True, implementation=implementation
        )
        x = x + self.post_norm1(self.o(out.reshape(*out.shape[:-2], -1)))
        return x + self.post_norm2(self.mlp(self.norm2(x)))


class VisionTower(nnx.Module):
    """Patches to visual tokens, in the tower's width."""

    std_bias: nnx.Param | None
    std_scale: nnx.Param | None

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        vision, param_dtype = config.vision, config.param_dtype
        self.config = config
        # The processor leaves 0 … 1; the tower reads it as -1 … 1.
        numbers = dataclasses.replace(vision, image_mean=(0.5,) * 3, image_std=(0.5,) * 3)
        self.patch_embed = PatchEmbed(
            numbers, bias=False, dtype=config.dtype, param_dtype=param_dtype, rngs=rngs
        )
        init = nnx.initializers.normal(vision.width**-0.5)
        # Columns first, then rows.
        shape = (2, vision.positions, vision.width)
        self.positions = nnx.Param(init(rngs.params(), shape, param_dtype))

        def make(rngs: nnx.Rngs) -> Layer:
            return Layer(vision, param_dtype=param_dtype, rngs=rngs)

        self.blocks = make_stack(vision.depth, make, rngs)
        if vision.standardize:
            self.std_bias = nnx.Param(jnp.zeros((vision.width,), param_dtype))
            self.std_scale = nnx.Param(jnp.ones((vision.width,), param_dtype))
        else:
            self.std_bias = self.std_scale = None

    def __call__(self, patches: Array, coords: Array, frame_ids: Array) -> Array:
        """Runs the tower.

        Args:
            patches: uint8[B, N, C] raw pixels.
            coords: int[B, N, 2], column and row of the patch in its picture or frame.
            frame_ids: int[B, N], picture or frame that the patch belongs to, 0 = padding.

        Returns:
            float[B, M, D].
        """
        config, vision = self.config, self.config.vision
        frequencies = rotary_frequencies(vision.head_dim // 2, vision.rope_theta)
        rotary = Rotary.of(coords[..., None].astype(jnp.float32) * frequencies)

        def step(layer: Layer, x: Array, _: None) -> tuple[Array, None]:
            return layer(shard_rows(x), rotary, frame_ids, config.attention), None

        x = self.patch_embed(patches)
        for axis in range(2):
            learned = jnp.take(self.positions[axis], coords[..., axis], axis=0, mode="clip")
            x = x + learned.astype(x.dtype)
        x, _ = scan_stack(self.blocks, step, shard_rows(x), remat=config.remat_of_tower)
        return shard_rows(self._pooled(x))

    def _pooled(self, x: Array) -> Array:
        """float[B, N, D] -> float[B, M, D]. Scaled values leave small types' range, so that this is
        in float32."""
        vision = self.config.vision
        units = x.reshape(x.shape[0], -1, vision.merge_size**2, vision.width)
        pooled = units.astype(jnp.float32).mean(axis=2) * vision.width**0.5
        if self.std_bias is not None and self.std_scale is not None:
            bias, scale = (
                jax.lax.stop_gradient(each[...].astype(jnp.float32))
                for each in (self.std_bias, self.std_scale)
            )
            pooled = (pooled - bias) * scale
        return pooled.astype(x.dtype)


class Projector(nnx.Module):
    """Visual tokens to the language model's width: normalised, and a matrix."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        options: dict[str, Any] = linear_options(config.param_dtype, rngs)
        self.proj = Linear(config.vision.width, config.text.width, **options)
        self.eps = config.vision.norm_eps

    def __call__(self, x: Array) -> Array:
        """float[B, M, D_vision] -> float[B, M, D_text]."""
        return self.proj(normalise(x, self.eps))
