"""Every number of the Qwen2.5-VL architecture, as frozen dataclasses."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from vsft_jax.models.shared import config as shared
from vsft_jax.models.shared import qwen
from vsft_jax.models.shared.block import BlockSpec
from vsft_jax.models.shared.config import check
from vsft_jax.models.shared.hf import config_json
from vsft_jax.models.shared.hf.config_json import require
from vsft_jax.models.shared.patch_embed import CLIP_MEAN, CLIP_STD
from vsft_jax.models.shared.qwen import SPECIAL_TOKENS

__all__ = ["PUBLISHED", "SPECIAL_TOKENS", "ModelConfig", "TextConfig", "VisionConfig"]


@dataclasses.dataclass(frozen=True)
class VisionConfig(qwen.VisionConfig):
    """The vision tower.

    window_size: side of an attention window in pixels.
    fullatt_block_indexes: layers that attend over a whole temporal grid instead of a window.
    tokens_per_second: temporal position ids per second of video (used on the host).
    """

    depth: int = 32
    width: int = 1280
    mlp_width: int = 3420
    heads: int = 16
    patch_size: int = 14
    window_size: int = 112
    fullatt_block_indexes: tuple[int, ...] = (7, 15, 23, 31)
    tokens_per_second: float = 2.0
    image_mean: tuple[float, float, float] = CLIP_MEAN
    image_std: tuple[float, float, float] = CLIP_STD

    def __post_init__(self) -> None:
        super().__post_init__()
        side = self.patch_size * self.merge_size
        check(
            self.window_size % side == 0,
            f"vision window_size {self.window_size} must be a multiple of "
            f"patch_size · merge_size = {side} pixels",
        )
        outside = [i for i in self.fullatt_block_indexes if not 0 <= i < self.depth]
        check(
            not outside,
            f"fullatt_block_indexes {outside} do not exist in a tower of depth {self.depth}",
        )

    @property
    def block(self) -> BlockSpec:
        """One layer."""
        return BlockSpec.of_tower(self, norm="rms", mlp="swiglu")

    @property
    def window_patches(self) -> int:
        """The most patches that one attention window holds."""
        return (self.window_size // self.patch_size) ** 2


@dataclasses.dataclass(frozen=True)
class TextConfig(shared.TextConfig):
    """A Qwen2 decoder with three-dimensional positions."""

    mrope_section: tuple[int, ...] = (16, 24, 24)
    qkv_bias: bool = True
    max_positions: int = 128000


@dataclasses.dataclass(frozen=True)
class ModelConfig(qwen.ModelConfig):
    """See `shared.config.ModelConfig`."""

    vision: VisionConfig


def from_hf(config: Mapping[str, Any], **compute: Any) -> ModelConfig:
    """Reads a transformers `config.json`.

    Args:
        config: the parsed file, in the flat layout (text numbers on top) or the nested one
            (`text_config`). A key that is left out takes transformers' default, because saved
            configs may list only what differs from it.
        **compute: `dtype`, `param_dtype`, `remat`, `attention` of `ModelConfig`.

    Raises:
        ValueError: another model type, or a variant that this code does not compute.
    """
    config_json.require_family(config, "qwen2_5_vl", "vision_config")
    text = config.get("text_config") or config
    vision = config["vision_config"]
    rope = config_json.rope(text)
    config_json.rope_type(text, ("default", "mrope", "yarn"))
    max_positions = text.get("max_position_embeddings", 32768)
    sliding = text.get("use_sliding_window")
    require(not sliding, "use_sliding_window is true, which is not supported")
    for name, part in (("text", text), ("vision", vision)):
        act = part.get("hidden_act", "silu")
        require(act == "silu", f"{name} hidden_act {act!r} is not silu")

    width, heads = text.get("hidden_size", 8192), text.get("num_attention_heads", 64)
    text_config = TextConfig(
        depth=text.get("num_hidden_layers", 80),
        width=width,
        mlp_width=text.get("intermediate_size", 29568),
        heads=heads,
        kv_heads=text.get("num_key_value_heads", 8) or heads,
        head_dim=text.get("head_dim") or width // heads,
        vocab_size=text.get("vocab_size", 152064),
        rope_theta=float(rope.get("rope_theta", text.get("rope_theta", 1e6))),
        mrope_section=tuple(rope.get("mrope_section", (16, 24, 24))),
        norm_eps=text.get("rms_norm_eps", 1e-5),
        tie_word_embeddings=config_json.tied(config, text),
        max_positions=max_positions,
        **config_json.yarn(text, max_positions),
    )
    vision_rope = vision.get("rope_parameters") or {}
    vision_config = VisionConfig(
        depth=vision.get("depth", 32),
        width=vision.get("hidden_size", 3584),
        mlp_width=vision.get("intermediate_size", 3420),
        heads=vision.get("num_heads", 16),
        patch_size=vision.get("patch_size", 14),
        temporal_patch_size=vision.get("temporal_patch_size", 2),
        merge_size=vision.get("spatial_merge_size", 2),
        window_size=vision.get("window_size", 112),
        fullatt_block_indexes=tuple(vision.get("fullatt_block_indexes", (7, 15, 23, 31))),
        tokens_per_second=float(vision.get("tokens_per_second", 4)),
        rope_theta=float(vision_rope.get("rope_theta", 10000.0)),
    )
    out = vision.get("out_hidden_size", 3584)
    require(
        out == text_config.width,
        f"vision out_hidden_size {out} differs from the text hidden_size {text_config.width}",
    )
    return ModelConfig(
        vision=vision_config,
        text=text_config,
        **{name: config[name] for name in SPECIAL_TOKENS if config.get(name) is not None},
        **compute,
    )


def to_hf(config: ModelConfig) -> dict[str, Any]:
    """A `config.json` that transformers reads: in the flat layout of the released ones, which is
    understood by all of its versions.

    Raises ValueError for numbers that it has no key for.
    """
    vision, text = config.vision, config.text
    require(text.head_dim * text.heads == text.width, "head_dim must be width / heads")
    whole = vision.tokens_per_second == int(vision.tokens_per_second)
    require(whole, "tokens_per_second must be a whole number")
    fixed = (vision.rope_theta, vision.norm_eps) == (10000.0, 1e-6)
    require(fixed, "vision rope_theta and norm_eps cannot be other than 10000 and 1e-6")
    yarn = config_json.yarn_to_hf(text)
    rope = {
        "type": "yarn" if yarn else "mrope",
        "mrope_section": list(text.mrope_section),
        **yarn,
    }
    return {
        "architectures": ["Qwen2_5_VLForConditionalGeneration"],
        "model_type": "qwen2_5_vl",
        "hidden_act": "silu",
        "hidden_size": text.width,
        "intermediate_size": text.mlp_width,
        "max_position_embeddings": text.max_positions,
        "num_attention_heads": text.heads,
        "num_hidden_layers": text.depth,
        "num_key_value_heads": text.kv_heads,
        "rms_norm_eps": text.norm_eps,
        "rope_scaling": rope,
        "rope_theta": text.rope_theta,
        "tie_word_embeddings": text.tie_word_embeddings,
        "use_sliding_window": False,
        "vocab_size": text.vocab_size,
        **{name: getattr(config, name) for name in SPECIAL_TOKENS},
        "vision_config": {
            "model_type": "qwen2_5_vl",
            "depth": vision.depth,
            "fullatt_block_indexes": list(vision.fullatt_block_indexes),
            "hidden_act": "silu",
            "hidden_size": vision.width,
            "in_chans": 3,
            "intermediate_size": vision.mlp_width,
            "num_heads": vision.heads,
            "out_hidden_size": text.width,
            "patch_size": vision.patch_size,
            "spatial_merge_size": vision.merge_size,
            "spatial_patch_size": vision.patch_size,
            "temporal_patch_size": vision.temporal_patch_size,
            "tokens_per_second": int(vision.tokens_per_second),
            "window_size": vision.window_size,
        },
    }


def _published(text: TextConfig, vision_mlp_width: int) -> ModelConfig:
    return ModelConfig(VisionConfig(mlp_width=vision_mlp_width), text)


# config.json of Qwen/Qwen2.5-VL-{3B,7B,32B,72B}-Instruct.
PUBLISHED = {
    "3b": _published(TextConfig(36, 2048, 11008, 16, 2, 151936, tie_word_embeddings=True), 3420),
    "7b": _published(TextConfig(28, 3584, 18944, 28, 4, 152064), 3420),
    "32b": _published(TextConfig(64, 5120, 27648, 40, 8, 152064), 3456),
    "72b": _published(TextConfig(80, 8192, 29568, 64, 8, 152064), 3456),
}
