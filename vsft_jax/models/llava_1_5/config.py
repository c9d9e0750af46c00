"""Every number of the LLaVA-1.5 architecture, as frozen dataclasses."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from vsft_jax.models.shared import config as shared
from vsft_jax.models.shared.config import TextConfig
from vsft_jax.models.shared.hf import llava as llava_hf
from vsft_jax.models.shared.vit import VisionConfig

__all__ = ["PUBLISHED", "SPECIAL_TOKENS", "ModelConfig", "TextConfig", "VisionConfig"]

# ModelConfig's ids, by the token they belong to.
SPECIAL_TOKENS = {"image_token_id": "<image>"}


@dataclasses.dataclass(frozen=True)
class ModelConfig(shared.ModelConfig):
    """See `shared.config.ModelConfig`."""

    vision: VisionConfig
    image_token_id: int = 32000


def from_hf(config: Mapping[str, Any], **compute: Any) -> ModelConfig:
    """Reads a transformers `config.json` of model type "llava".

    Args:
        config: the parsed file; a key that is left out takes transformers' default.
        **compute: `dtype`, `param_dtype`, `remat`, `attention` of `ModelConfig`.

    Raises:
        ValueError: another model type, or a variant that this code does not compute.
    """
    llava_hf.require_llava(config, "llava")
    return ModelConfig(
        vision=VisionConfig(
            **llava_hf.vision_numbers(config, llava_hf.CLIP_DEFAULTS, feature_layer=-2)
        ),
        text=llava_hf.text_from_hf(config),
        image_token_id=llava_hf.token_id(config, "image", 32000),
        **compute,
    )


def to_hf(config: ModelConfig) -> dict[str, Any]:
    """A `config.json` that transformers reads."""
    return {
        "architectures": ["LlavaForConditionalGeneration"],
        "model_type": "llava",
        "image_token_index": config.image_token_id,
        "image_seq_length": config.vision.slots - config.vision.class_token,
        **llava_hf.to_hf(config),
    }


def _vicuna(depth: int, width: int, mlp_width: int, heads: int) -> ModelConfig:
    text = TextConfig(
        depth, width, mlp_width, heads, heads, 32064, rope_theta=10000.0, norm_eps=1e-5
    )
    return ModelConfig(VisionConfig(), text)


# config.json of llava-hf/llava-1.5-{7b,13b}-hf.
PUBLISHED = {
    "7b": _vicuna(32, 4096, 11008, 32),
    "13b": _vicuna(40, 5120, 13824, 40),
}
