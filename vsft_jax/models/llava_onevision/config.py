"""Every number of the LLaVA-OneVision architecture, as frozen dataclasses."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from vsft_jax.models.shared import config as shared
from vsft_jax.models.shared import vit
from vsft_jax.models.shared.config import check
from vsft_jax.models.shared.hf import llava as llava_hf
from vsft_jax.models.shared.hf.config_json import require

# ModelConfig's ids, by the token they belong to.
SPECIAL_TOKENS = {"image_token_id": "<image>", "video_token_id": "<video>"}

_SIDES = tuple(range(384, 2304 + 1, 384))


@dataclasses.dataclass(frozen=True)
class VisionConfig(vit.VisionConfig):
    """The vision tower, and how its features are arranged (used on the host). The defaults are
    SigLIP so400m/14 at 384 pixels without its last layer.

    canvases: (height, width) in pixels that an image may be tiled on.
    canvas_features: a canvas's features are shrunk to about as many as this number of tiles has.
    """

    kind: Literal["clip", "siglip"] = "siglip"
    depth: int = 26
    width: int = 1152
    mlp_width: int = 4304
    image_size: int = 384
    feature_layer: int = -1
    norm_eps: float = 1e-6
    activation: str = "gelu_tanh"
    image_mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    image_std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    canvases: tuple[tuple[int, int], ...] = tuple((h, w) for h in _SIDES for w in _SIDES)
    canvas_features: int = 9

    def __post_init__(self) -> None:
        super().__post_init__()
        check(
            self.canvas_features >= 1,
            f"vision canvas_features {self.canvas_features} must be 1 or more",
        )


@dataclasses.dataclass(frozen=True)
class TextConfig(shared.TextConfig):
    """A Qwen2 decoder."""

    qkv_bias: bool = True
    max_positions: int = 32768


@dataclasses.dataclass(frozen=True)
class ModelConfig(shared.ModelConfig):
    """See `shared.config.ModelConfig`."""

    vision: VisionConfig
    image_token_id: int = 151646
    video_token_id: int = 151647


def from_hf(config: Mapping[str, Any], **compute: Any) -> ModelConfig:
    """Reads a transformers `config.json` of model type "llava_onevision".

    Args:
        config: the parsed file; a key that is left out takes transformers' default.
        **compute: `dtype`, `param_dtype`, `remat`, `attention` of `ModelConfig`.

    Raises:
        ValueError: another model type, or a variant that this code does not compute.
    """
    llava_hf.require_llava(config, "llava_onevision")
    ratio = config.get("vision_aspect_ratio", "anyres_max_9")
    limit = ratio.removeprefix("anyres_max_")
    require(
        ratio.startswith("anyres_max_") and limit.isdecimal(),
        f"vision_aspect_ratio {ratio!r} is not supported (only anyres_max_N)",
    )
    vision = llava_hf.vision_numbers(config, llava_hf.SIGLIP_DEFAULTS, feature_layer=-1)
    return ModelConfig(
        vision=VisionConfig(
            **vision,
            canvases=llava_hf.canvases(config, VisionConfig.canvases),
            canvas_features=int(limit),
        ),
        text=llava_hf.text_from_hf(config, TextConfig),
        image_token_id=llava_hf.token_id(config, "image", 151646),
        video_token_id=llava_hf.token_id(config, "video", 151647),
        **compute,
    )


def to_hf(config: ModelConfig) -> dict[str, Any]:
    """A `config.json` that transformers reads."""
    vision = config.vision
    return {
        "architectures": ["LlavaOnevisionForConditionalGeneration"],
        "model_type": "llava_onevision",
        "image_token_index": config.image_token_id,
        "video_token_index": config.video_token_id,
        "image_grid_pinpoints": [list(canvas) for canvas in vision.canvases],
        "vision_aspect_ratio": f"anyres_max_{vision.canvas_features}",
        **llava_hf.to_hf(config),
    }


# config.json of llava-hf/llava-onevision-qwen2-{0.5b,7b}-ov-hf.
PUBLISHED = {
    "0.5b": ModelConfig(
        VisionConfig(),
        TextConfig(24, 896, 4864, 14, 2, 152000, head_dim=64, tie_word_embeddings=True),
    ),
    "7b": ModelConfig(VisionConfig(), TextConfig(28, 3584, 18944, 28, 4, 152128)),
}
