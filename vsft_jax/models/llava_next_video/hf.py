"""transformers' LLaVA-NeXT-Video: names and layout of its tensors, and its processor."""

from typing import Any

from vsft_jax.models.llava_next_video.config import ModelConfig
from vsft_jax.models.llava_next_video.layout import Layout
from vsft_jax.models.shared.hf import llava as llava_hf
from vsft_jax.models.shared.hf import llava_processor
from vsft_jax.models.shared.hf.llava import canonical_name, released_name
from vsft_jax.models.shared.hf.table import Tensor

__all__ = ["canonical_name", "checkpoint_table", "processor_files", "released_name"]


def checkpoint_table(config: ModelConfig) -> list[Tensor]:
    """Every tensor of a checkpoint. Each parameter is a part of exactly one."""
    return llava_hf.checkpoint_rows(config, newline=True)


def processor_files(config: ModelConfig, layout: Layout) -> dict[str, dict[str, Any]]:
    """Name and content of the files from which transformers makes the model's processor.

    `image_max_tiles` has no place in them: transformers tiles an image as the architecture allows.
    """
    processor = "LlavaNextVideoProcessor"
    shared = {
        "processor_class": processor,
        **llava_processor.cropped(layout.image_size),
        **llava_processor.pixels_to_hf(config.vision),
    }
    return {
        "preprocessor_config.json": {
            "image_processor_type": "LlavaNextImageProcessor",
            "image_grid_pinpoints": [list(canvas) for canvas in layout.canvases],
            "do_pad": True,
            **shared,
        },
        "video_preprocessor_config.json": {
            "video_processor_type": "LlavaNextVideoVideoProcessor",
            **shared,
        },
        "processor_config.json": {
            "processor_class": processor,
            "image_token": "<image>",
            "video_token": "<video>",
            "patch_size": layout.patch_size,
            "num_additional_image_tokens": int(layout.class_token),
            "vision_feature_select_strategy": "default" if layout.class_token else "full",
        },
    }
