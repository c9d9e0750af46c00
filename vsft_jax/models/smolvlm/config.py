"""Every number of the SmolVLM2 architecture, as frozen dataclasses."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from vsft_jax.models.shared import config as shared
from vsft_jax.models.shared import vit
from vsft_jax.models.shared.config import TextConfig, check
from vsft_jax.models.shared.hf import config_json
from vsft_jax.models.shared.hf import llava as llava_hf
from vsft_jax.models.shared.hf.config_json import require

__all__ = ["PUBLISHED", "SPECIAL_TOKENS", "ModelConfig", "TextConfig", "VisionConfig"]

# ModelConfig's ids, by the token they belong to.
SPECIAL_TOKENS = {"image_token_id": "<image>"}

# What a vision_config may leave out, and what it always is.
_TOWER = {
    "model_type": "siglip_vision_model",
    "num_hidden_layers": 12,
    "hidden_size": 1152,
    "intermediate_size": 3072,
    "num_attention_heads": 16,
    "image_size": 224,
    "patch_size": 32,
}
_DEFAULT_IMAGE_TOKEN = 128257


@dataclasses.dataclass(frozen=True)
class VisionConfig(vit.VisionConfig):
    """The vision tower; the defaults are SigLIP base/16 at 512 pixels.

    merge_size: merge_size² neighbouring patches become one visual token.
    """

    kind: Literal["clip", "siglip"] = "siglip"
    depth: int = 12
    width: int = 768
    mlp_width: int = 3072
    heads: int = 12
    image_size: int = 512
    patch_size: int = 16
    feature_layer: int = -1
    norm_eps: float = 1e-6
    activation: str = "gelu_tanh"
    image_mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    image_std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    merge_size: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        side = self.image_size // self.patch_size
        check(
            self.merge_size >= 1 and side % self.merge_size == 0,
            f"vision merge_size (scale_factor) {self.merge_size} must divide the {side} patches "
            "along a side of the tower's input",
        )

    @property
    def merged_width(self) -> int:
        """Width of the merge_size² patches of one visual token, side by side."""
        return self.width * self.merge_size**2


@dataclasses.dataclass(frozen=True)
class ModelConfig(shared.ModelConfig):
    """See `shared.config.ModelConfig`."""

    vision: VisionConfig
    image_token_id: int = 49190


def from_hf(config: Mapping[str, Any], **compute: Any) -> ModelConfig:
    """Reads a transformers `config.json` of model type "smolvlm".

    Args:
        config: the parsed file; a key that is left out takes transformers' default.
        **compute: `dtype`, `param_dtype`, `remat`, `attention` of `ModelConfig`.

    Raises:
        ValueError: another model type, or a variant that this code does not compute.
    """
    config_json.require_family(config, "smolvlm", "vision_config", "text_config")
    given = config["vision_config"]
    require(
        given.get("num_channels", 3) == 3,
        f"vision_config.num_channels {given.get('num_channels')} is not supported (only 3)",
    )
    numbers = {key: value for key, value in given.items() if key != "model_type"}
    vision = llava_hf.vision_numbers({"vision_config": numbers}, _TOWER, feature_layer=-1)
    return ModelConfig(
        vision=VisionConfig(**vision, merge_size=config.get("scale_factor", 2)),
        text=llava_hf.text_from_hf(config),
        image_token_id=config.get("image_token_id", _DEFAULT_IMAGE_TOKEN),
        **compute,
    )


def to_hf(config: ModelConfig) -> dict[str, Any]:
    """A `config.json` that transformers reads; inverse of `from_hf`."""
    vision = llava_hf.vision_to_hf(config.vision)
    return {
        "architectures": ["SmolVLMForConditionalGeneration"],
        "model_type": "smolvlm",
        "image_token_id": config.image_token_id,
        "scale_factor": config.vision.merge_size,
        "tie_word_embeddings": config.text.tie_word_embeddings,
        "vision_config": {**vision, "model_type": "smolvlm_vision"},
        "text_config": llava_hf.text_to_hf(config.text),
    }


def _smollm2(depth: int, width: int, mlp_width: int, heads: int, kv_heads: int) -> TextConfig:
    """A SmolLM2 decoder, whose head is not the embedding here."""
    return TextConfig(
        *(depth, width, mlp_width, heads, kv_heads, 49280),
        head_dim=64,
        rope_theta=100000.0,
        norm_eps=1e-5,
        max_positions=8192,
    )


_LARGE_TOWER = VisionConfig(
    depth=27, width=1152, mlp_width=4304, heads=16, image_size=384, patch_size=14, merge_size=3
)

# HuggingFaceTB/SmolVLM2-{256M,500M}-Video-Instruct and SmolVLM2-2.2B-Instruct.
PUBLISHED = {
    "256m": ModelConfig(VisionConfig(), _smollm2(30, 576, 1536, 9, 3)),
    "500m": ModelConfig(VisionConfig(), _smollm2(32, 960, 2560, 15, 5)),
    "2.2b": ModelConfig(
        _LARGE_TOWER,
        dataclasses.replace(_smollm2(24, 2048, 8192, 32, 32), rope_theta=130000.0),
    ),
}
