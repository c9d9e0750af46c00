"""The processor files of Qwen3-VL and Qwen3.5."""

from typing import Any

from vsft_jax.models.shared.hf import qwen as qwen_hf
from vsft_jax.models.shared.qwen import ModelConfig
from vsft_jax.models.shared.qwen.timed_layout import Layout


def processor_files(config: ModelConfig, layout: Layout) -> dict[str, dict[str, Any]]:
    """Name and content of the files from which transformers makes the model's processor.

    The sizes are the layout's but for `video_min_pixels`, which they have no place for: a smallest
    size is that of a whole clip (`clip_min_pixels`). transformers before version 5 knows no limit
    for a single frame.
    """
    shared = {**qwen_hf.pixels_to_hf(config.vision), "processor_class": "Qwen3VLProcessor"}
    least = layout.clip_min_pixels or layout.video_min_pixels
    most = round(layout.video_total_pixels * layout.temporal_patch_size)
    video: dict[str, Any] = {
        "video_processor_type": "Qwen3VLVideoProcessor",
        "size": {"shortest_edge": least, "longest_edge": most},
        "cap_pixels_per_frame": layout.video_max_pixels is not None,
        **shared,
    }
    if layout.video_max_pixels is not None:
        tokens = layout.video_max_pixels / layout.factor**2  # of a frame
        video["max_video_tokens"] = int(tokens) if tokens.is_integer() else tokens
    return {
        "preprocessor_config.json": {
            "image_processor_type": "Qwen2VLImageProcessor",
            "size": {
                "shortest_edge": layout.image_min_pixels,
                "longest_edge": layout.image_max_pixels,
            },
            **shared,
        },
        "video_preprocessor_config.json": video,
    }
