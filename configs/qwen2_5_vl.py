"""Qwen2.5-VL, as released, on your own clips.

    vsft --config=configs/qwen2_5_vl.py:path=/models/Qwen2.5-VL-7B-Instruct \
        --job=predict --media=clip.mp4 --prompt="What happens?"

    vsft --config=configs/qwen2_5_vl.py:path=/models/Qwen2.5-VL-7B-Instruct,\
    annotations=/data/train.json,media_root=/data/videos,frames=hybrid --workdir=runs/mine

Arguments: path= a Hugging Face directory or hub id, for architecture, weights and tokenizer; size=
3b, 7b, 32b or 72b, checked against the path, or without one a model with random weights; frames= a
number or hybrid, instruction, similarity, duration, random; annotations= and media_root= one
training set (docs/data.md); init_from= another run's workdir. For evaluation alone,
--config.model.param_dtype=bfloat16 halves the memory.
"""

from ml_collections import ConfigDict

from configs import common

UNIT = 28 * 28  # pixels of one visual token in one frame


def get_config(arg: str | None = None) -> ConfigDict:
    """The published model; see the module's docstring for the arguments."""
    return common.published(
        "qwen2_5_vl",
        arg,
        size="7b",
        candidates=(8, 16, 32, 64),
        layout={
            "image_min_pixels": 4 * UNIT,
            "image_max_pixels": 1280 * UNIT,
            # Of a frame; and of a clip, so that it fits into a row.
            "video_min_pixels": 128 * UNIT,
            "video_max_pixels": 768 * UNIT,
            "video_total_pixels": 7168 * UNIT,
            "time_mode": "float",
            "row_tokens": 8192,
            "row_patches": 4 * 7168,  # four to a visual token
        },
    )
