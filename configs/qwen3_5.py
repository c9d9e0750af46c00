"""Qwen3.5, as released, dense and with experts, on your own clips.

    vsft --config=configs/qwen3_5.py:path=/models/Qwen3.5-9B \
        --job=predict --media=clip.mp4 --prompt="What happens?"

    vsft --config=configs/qwen3_5.py:path=/models/Qwen3.5-9B,\
    annotations=/data/train.json,media_root=/data/videos,frames=hybrid --workdir=runs/mine

Arguments: path= a Hugging Face directory or hub id, for architecture, weights and tokenizer; size=
0.8b, 2b, 4b, 9b, 27b, 35b-a3b, 122b-a10b or 397b-a17b (with experts), checked against the path, or
without one a model with random weights; frames= a number or hybrid, instruction, similarity,
duration, random; annotations= and media_root= one training set (docs/data.md); benchmarks= and
benchmark_root= official benchmarks, as in mme+videomme (docs/evaluation.md); init_from= another
run's workdir. For evaluation alone, --config.model.param_dtype=bfloat16 halves the memory.
"""

from ml_collections import ConfigDict, config_dict

from configs import common


def get_config(arg: str | None = None) -> ConfigDict:
    """The published model; see the module's docstring for the arguments."""
    return common.published(
        "qwen3_5",
        arg,
        size="4b",
        candidates=(8, 16, 32, 64),
        layout={
            # Sizes of media: unset, as the processor files of the path say. All count pixels.
            "image_min_pixels": config_dict.placeholder(int),
            "image_max_pixels": config_dict.placeholder(int),
            "video_min_pixels": config_dict.placeholder(int),  # of a frame
            "video_max_pixels": config_dict.placeholder(int),  # of a frame
            "video_total_pixels": config_dict.placeholder(float),  # of a clip's temporal grids
            "clip_min_pixels": config_dict.placeholder(int),  # of all frames of a clip
            "row_tokens": 8192,
            "row_patches": 4 * 7168,  # four to a visual token
        },
    )
