"""The vision towers of the LLaVA families: CLIP and SigLIP.

Both see squares of one size, which attend to themselves alone. They differ in CLIP's class token
and first normalisation, and in the activation. Follows transformers `models/clip/modeling_clip.py`
and `models/siglip/modeling_siglip.py`.
"""

import dataclasses
from typing import Any, Literal

import jax.numpy as jnp
from flax import nnx
from jax import Array

from vsft_jax.models.shared.attention import attention
from vsft_jax.models.shared.block import Block, BlockSpec
from vsft_jax.models.shared.config import ModelConfig, check
from vsft_jax.models.shared.layers import LayerNorm
from vsft_jax.models.shared.patch_embed import CLIP_MEAN, CLIP_STD, PatchEmbed
from vsft_jax.models.shared.stacks import make_blocks, scan_stack
from vsft_jax.sharding import shard_rows


@dataclasses.dataclass(frozen=True)
class VisionConfig:
    """The vision tower; the defaults are CLIP ViT-L/14 at 336 pixels.

    kind: "clip" has a class token and normalises before its first layer; "siglip" has neither.
    depth: layers of the published tower.
    feature_layer: whose output is used, counted as transformers counts `hidden_states`: -1 is that
        of the last layer (before the tower's closing normalisation), -2 of the one before.
    image_size, patch_size: sides in pixels.
    """

    kind: Literal["clip", "siglip"] = "clip"
    depth: int = 24
    width: int = 1024
    mlp_width: int = 4096
    heads: int = 16
    image_size: int = 336
    patch_size: int = 14
    feature_layer: int = -2
    norm_eps: float = 1e-5
    activation: str = "quick_gelu"
    image_mean: tuple[float, float, float] = CLIP_MEAN
    image_std: tuple[float, float, float] = CLIP_STD

    def __post_init__(self) -> None:
        check(
            self.kind in ("clip", "siglip"),
            f'vision kind must be "clip" or "siglip", got {self.kind!r}',
        )
        check(
            self.width % self.heads == 0,
            f"vision width {self.width} must be a multiple of heads ({self.heads})",
        )
        check(
            1 <= self.used_depth <= self.depth,
            f"vision feature_layer {self.feature_layer} is not the output of one of the tower's "
            f"{self.depth} layers",
        )

    @property
    def used_depth(self) -> int:
        """Layers that the features depend on; only these are parameters of the model."""
        from_end = self.depth + 1 + self.feature_layer
        return from_end if self.feature_layer < 0 else self.feature_layer

    @property
    def class_token(self) -> bool:
        return self.kind == "clip"

    @property
    def slots(self) -> int:
        """Places of one input: its patches and the class token."""
        return (self.image_size // self.patch_size) ** 2 + self.class_token

    @property
    def input_numbers(self) -> dict[str, Any]:
        """What layout rules (`FixedResolution`) take from here."""
        return {
            "image_size": self.image_size,
            "patch_size": self.patch_size,
            "class_token": self.class_token,
        }

    @property
    def patch_columns(self) -> int:
        """Values of one patch, ordered (channel, row, column)."""
        return 3 * self.patch_size**2

    @property
    def block(self) -> BlockSpec:
        """One layer."""
        return BlockSpec.of_tower(self, norm="layer", mlp=self.activation)


class VisionTower(nnx.Module):
    """Patches to patch features."""

    class_token: nnx.Param | None
    pre_norm: LayerNorm | None

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        """config: its `vision` is a `VisionConfig` of this module."""
        vision, param_dtype = config.vision, config.param_dtype
        options: dict[str, Any] = dict(param_dtype=param_dtype, rngs=rngs)
        self.config = config
        self.patch_embed = PatchEmbed(
            vision, bias=not vision.class_token, dtype=config.dtype, **options
        )
        init = nnx.initializers.normal(vision.width**-0.5)
        self.position = nnx.Param(init(rngs.params(), (vision.slots, vision.width), param_dtype))
        if vision.class_token:
            self.class_token = nnx.Param(init(rngs.params(), (vision.width,), param_dtype))
            self.pre_norm = LayerNorm(vision.width, eps=vision.norm_eps, param_dtype=param_dtype)
        else:
            self.class_token = self.pre_norm = None
        self.blocks = make_blocks(vision.used_depth, vision.block, **options)

    def __call__(self, patches: Array, coords: Array, frame_ids: Array) -> Array:
        """Runs the tower.

        Args:
            patches: uint8[B, N, C] raw pixels; those of a class token's place are not looked at.
            coords: int[B, N, 1], row of the table of positions; with a class token it has row 0.
            frame_ids: int[B, N], input that the patch belongs to, 0 = padding.

        Returns:
            float[B, N, D], features of the class tokens among them.
        """
        config, slot = self.config, coords[..., 0]

        def attend(q: Array, k: Array, v: Array) -> tuple[Array, Any]:
            out = attention(
                q,
                k,
                v,
                segment_ids=frame_ids,
                max_segment_length=config.vision.slots,
                within_share=True,
                implementation=config.attention,
            )
            return out, None

        def step(block: Block, x: Array, _: None) -> tuple[Array, Any]:
            return block(shard_rows(x), None, attend)[:2]

        x = shard_rows(self.patch_embed(patches))
        if self.class_token is not None:
            x = jnp.where(slot[..., None] == 0, self.class_token[...].astype(x.dtype), x)
        x = x + jnp.take(self.position[...], slot, axis=0, mode="clip").astype(x.dtype)
        x = x if self.pre_norm is None else self.pre_norm(x)
        return scan_stack(self.blocks, step, x, remat=config.remat_of_tower)[0]
