"""LLaVA-NeXT-Video, as released, on your own clips.

    vsft --config=configs/llava_next_video.py:path=/models/LLaVA-NeXT-Video-7B-hf \
        --job=predict --media=clip.mp4 --prompt="What happens?"

    vsft --config=configs/llava_next_video.py:path=/models/LLaVA-NeXT-Video-7B-hf,\
    annotations=/data/train.json,media_root=/data/videos,frames=hybrid --workdir=runs/mine

Arguments: path= a Hugging Face directory or hub id, for architecture, weights and tokenizer; size=
7b or 34b, checked against the path, or without one a model with random weights; frames= a
number or hybrid, instruction, similarity, duration, random; annotations= and media_root= one
training set (docs/data.md); benchmarks= and benchmark_root= official benchmarks, as in mme+videomme
(docs/evaluation.md); init_from= another run's workdir. For evaluation alone,
--config.model.param_dtype=bfloat16 halves the memory.
"""

from ml_collections import ConfigDict, config_dict

from configs import common

INPUT = 577  # patches of one picture of the tower, the class token among them


def get_config(arg: str | None = None) -> ConfigDict:
    """The published model; see the module's docstring for the arguments."""
    return common.published(
        "llava_next_video",
        arg,
        size="7b",
        candidates=(8, 16, 32),
        layout={
            "image_max_tiles": config_dict.placeholder(int),  # of an image; unset: as many as suit
            "row_tokens": 8192,
            "row_patches": 56 * INPUT,  # as many frames as its tokens leave room for
        },
    )
