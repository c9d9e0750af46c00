"""LLaVA-OneVision, as released, on your own clips.

    vsft --config=configs/llava_onevision.py:path=/models/llava-onevision-qwen2-7b-ov-hf \
        --job=predict --media=clip.mp4 --prompt="What happens?"

    vsft --config=configs/llava_onevision.py:path=/models/llava-onevision-qwen2-7b-ov-hf,\
    annotations=/data/train.json,media_root=/data/videos,frames=hybrid --workdir=runs/mine

Arguments: path= a Hugging Face directory or hub id, for architecture, weights and tokenizer; size=
0.5b or 7b, checked against the path, or without one a model with random weights; frames= a
number or hybrid, instruction, similarity, duration, random; annotations= and media_root= one
training set (docs/data.md); benchmarks= and benchmark_root= official benchmarks, as in mme+videomme
(docs/evaluation.md); init_from= another run's workdir. For evaluation alone,
--config.model.param_dtype=bfloat16 halves the memory.
"""

from ml_collections import ConfigDict, config_dict

from configs import common

INPUT = 729  # patches of one picture of the tower


def get_config(arg: str | None = None) -> ConfigDict:
    """The published model; see the module's docstring for the arguments."""
    return common.published(
        "llava_onevision",
        arg,
        size="7b",
        candidates=(8, 16, 32),
        layout={
            "image_max_tiles": config_dict.placeholder(int),  # of an image; unset: as many as suit
            "row_tokens": 8192,
            "row_patches": 41 * INPUT,  # as many frames as its tokens leave room for
        },
    )
