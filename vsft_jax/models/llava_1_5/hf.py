"""transformers' LLaVA-1.5: names and layout of its tensors, and its processor."""

from typing import Any

from vsft_jax.models.llava_1_5.config import ModelConfig
from vsft_jax.models.llava_1_5.layout import Layout
from vsft_jax.models.shared.hf import llava as llava_hf
from vsft_jax.models.shared.hf import llava_processor
from vsft_jax.models.shared.hf.llava import canonical_name, released_name
from vsft_jax.models.shared.hf.table import Tensor

__all__ = ["canonical_name", "checkpoint_table", "processor_files", "released_name"]


def checkpoint_table(config: ModelConfig) -> list[Tensor]:
    """Every tensor of a checkpoint. Each parameter is a part of exactly one."""
    return llava_hf.checkpoint_rows(config, newline=False)


def processor_files(config: ModelConfig, layout: Layout) -> dict[str, dict[str, Any]]:
    """Name and content of the files from which transformers makes the model's processor.

    transformers knows no clips for this model: their frames are images to its processor.
    """
    side = layout.image_size
    fit = (
        llava_processor.stretched(side)
        if layout.fit == "stretch"
        else llava_processor.cropped(side)
    )
    processor = "LlavaProcessor"
    return {
        "preprocessor_config.json": {
            "image_processor_type": "LlavaImageProcessor",
            "processor_class": processor,
            "do_pad": layout.fit == "pad",
            **fit,
            **llava_processor.pixels_to_hf(config.vision),
        },
        "processor_config.json": {
            "processor_class": processor,
            "image_token": "<image>",
            "patch_size": layout.patch_size,
            "num_additional_image_tokens": int(layout.class_token),
            "vision_feature_select_strategy": "default" if layout.class_token else "full",
        },
    }
