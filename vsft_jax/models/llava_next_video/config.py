"""Every number of the LLaVA-NeXT-Video architecture, as frozen dataclasses."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from vsft_jax.models.shared import config as shared
from vsft_jax.models.shared import vit
from vsft_jax.models.shared.config import TextConfig, check
from vsft_jax.models.shared.hf import llava as llava_hf
from vsft_jax.models.shared.hf.config_json import require

__all__ = ["PUBLISHED", "SPECIAL_TOKENS", "ModelConfig", "TextConfig", "VisionConfig"]

# ModelConfig's ids, by the token they belong to.
SPECIAL_TOKENS = {"image_token_id": "<image>", "video_token_id": "<video>"}


@dataclasses.dataclass(frozen=True)
class VisionConfig(vit.VisionConfig):
    """The vision tower, and how its features are arranged (used on the host).

    canvases: (height, width) in pixels that an image may be tiled on.
    video_pool: side of the square of features that is averaged in a frame of a clip.
    """

    canvases: tuple[tuple[int, int], ...] = (
        (336, 672),
        (672, 336),
        (672, 672),
        (1008, 336),
        (336, 1008),
    )
    video_pool: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self.video_pool >= 1, f"vision video_pool {self.video_pool} must be 1 or more")


@dataclasses.dataclass(frozen=True)
class ModelConfig(shared.ModelConfig):
    """See `shared.config.ModelConfig`."""

    vision: VisionConfig
    image_token_id: int = 32001
    video_token_id: int = 32000


def from_hf(config: Mapping[str, Any], **compute: Any) -> ModelConfig:
    """Reads a transformers `config.json` of model type "llava_next_video".

    Args:
        config: the parsed file; a key that is left out takes transformers' default.
        **compute: `dtype`, `param_dtype`, `remat`, `attention` of `ModelConfig`.

    Raises:
        ValueError: another model type, or a variant that this code does not compute.
    """
    llava_hf.require_llava(config, "llava_next_video")
    mode = config.get("spatial_pool_mode", "average")
    require(mode == "average", f"spatial_pool_mode {mode!r} is not supported (only average)")
    vision = llava_hf.vision_numbers(config, llava_hf.CLIP_DEFAULTS, feature_layer=-2)
    return ModelConfig(
        vision=VisionConfig(
            **vision,
            canvases=llava_hf.canvases(config, VisionConfig.canvases),
            video_pool=config.get("spatial_pool_stride", 2),
        ),
        text=llava_hf.text_from_hf(config),
        image_token_id=llava_hf.token_id(config, "image", 32001),
        video_token_id=llava_hf.token_id(config, "video", 32000),
        **compute,
    )


def to_hf(config: ModelConfig) -> dict[str, Any]:
    """A `config.json` that transformers reads."""
    vision = config.vision
    patches = vision.slots - vision.class_token
    return {
        "architectures": ["LlavaNextVideoForConditionalGeneration"],
        "model_type": "llava_next_video",
        "image_token_index": config.image_token_id,
        "video_token_index": config.video_token_id,
        "image_grid_pinpoints": [list(canvas) for canvas in vision.canvases],
        "image_seq_length": patches,
        "spatial_pool_mode": "average",
        "spatial_pool_stride": vision.video_pool,
        **llava_hf.to_hf(config),
    }


# config.json of llava-hf/LLaVA-NeXT-Video-{7B,34B}-hf.
PUBLISHED = {
    # Vicuna 1.5, its 4096 positions stretched.
    "7b": ModelConfig(
        VisionConfig(),
        TextConfig(
            32, 4096, 11008, 32, 32, 32064, rope_theta=10000.0, rope_factor=2.5, norm_eps=1e-5
        ),
    ),
    # Nous-Hermes-2-Yi.
    "34b": ModelConfig(
        VisionConfig(),
        TextConfig(60, 7168, 20480, 56, 8, 64064, rope_theta=5_000_000.0, norm_eps=1e-5),
        image_token_id=64004,
        video_token_id=64003,
    ),
}
