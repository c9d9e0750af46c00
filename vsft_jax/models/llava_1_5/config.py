"""Every number of the LLaVA-1.5 architecture, as frozen dataclasses."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from vsft_jax.models.shared.config import Compute, TextConfig
from vsft_jax.models.shared.hf import llava as llava_hf
from vsft_jax.models.shared.vit import VisionConfig

# ModelConfig's ids, by the token they belong to.
SPECIAL_TOKENS = {"image_token_id": "<image>"}


@dataclasses.dataclass(frozen=True)
class ModelConfig(Compute):
    """Architecture, special tokens, and (from `Compute`) how to compute."""

    vision: VisionConfig
    text: TextConfig
    image_token_id: int = 32000

    @property
    def media_token_ids(self) -> tuple[int, ...]:
        """Tokens that stand for media: never to be generated."""
        return (self.image_token_id,)


def from_hf(config: Mapping[str, Any], **compute: str) -> ModelConfig:
    """Reads a transformers `config.json` of model type "llava".

    Args:
        config: the parsed file; a key that is left out takes transformers' default.
        **compute: `dtype`, `param_dtype`, `remat`, `attention` of `ModelConfig`.

    Raises:
        ValueError: another model type, or a variant that this code does not compute.
    """
    llava_hf.check_family(config, "llava")
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


def published(size: str, **compute: str) -> ModelConfig:
    """LLaVA-1.5 as released: `size` is "7b" or "13b".

    Source: config.json of llava-hf/llava-1.5-{7b,13b}-hf.

    Raises:
        ValueError: no such size.
    """
    if size not in _PUBLISHED:
        raise ValueError(f"size {size!r} is unknown; use one of {SIZES}")
    return ModelConfig(VisionConfig(), _PUBLISHED[size], **compute)


def _vicuna(depth: int, width: int, mlp_width: int, heads: int) -> TextConfig:
    return TextConfig(
        depth, width, mlp_width, heads, heads, 32064, rope_theta=10000.0, norm_eps=1e-5
    )


_PUBLISHED = {
    "7b": _vicuna(32, 4096, 11008, 32),
    "13b": _vicuna(40, 5120, 13824, 40),
}
SIZES = tuple(_PUBLISHED)
