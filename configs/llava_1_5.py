"""LLaVA-1.5, as released, on your own clips.

    vsft --config=configs/llava_1_5.py:path=/models/llava-1.5-7b-hf \
        --job=predict --media=clip.mp4 --prompt="What happens?"

    vsft --config=configs/llava_1_5.py:path=/models/llava-1.5-7b-hf,\
    annotations=/data/train.json,media_root=/data/videos,frames=hybrid --workdir=runs/mine

Arguments: path= a Hugging Face directory or hub id, for architecture, weights and tokenizer; size=
7b or 13b, checked against the path, or without one a model with random weights; frames= a
number or hybrid, instruction, similarity, duration, random; annotations= and media_root= one
training set (docs/data.md); benchmarks= and benchmark_root= official benchmarks, as in mme+videomme
(docs/evaluation.md); init_from= another run's workdir. For evaluation alone,
--config.model.param_dtype=bfloat16 halves the memory.

The model was trained on single images and reads 4096 tokens, which are seven frames.
"""

from ml_collections import ConfigDict, config_dict

from configs import common

INPUT = 577  # patches of one picture of the tower, the class token among them


def get_config(arg: str | None = None) -> ConfigDict:
    """The published model; see the module's docstring for the arguments."""
    return common.published(
        "llava_1_5",
        arg,
        size="7b",
        candidates=(2, 4, 6),
        layout={
            # How a picture becomes a square, "crop", "pad" or "stretch"; unset: as the processor
            # files of the path say.
            "fit": config_dict.placeholder(str),
            "row_tokens": 4096,
            "row_patches": 7 * INPUT,
        },
    )
