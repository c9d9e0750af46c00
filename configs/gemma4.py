"""Gemma 4, as released, on your own clips. Without audio.

    vsft --config=configs/gemma4.py:path=/models/gemma-4-E2B-it \
        --job=predict --media=clip.mp4 --prompt="What happens?"

    vsft --config=configs/gemma4.py:path=/models/gemma-4-E2B-it,\
    annotations=/data/train.json,media_root=/data/videos,frames=hybrid --workdir=runs/mine

Arguments: path= a Hugging Face directory or hub id, for architecture, weights and tokenizer; size=
e2b, e4b, 31b or 26b-a4b, checked against the path, or without one a model with random weights;
frames= a number or hybrid, instruction, similarity, duration, random; annotations= and media_root=
one training set (docs/data.md); benchmarks= and benchmark_root= official benchmarks, as in
mme+videomme (docs/evaluation.md); init_from= another run's workdir. For evaluation alone,
--config.model.param_dtype=bfloat16 halves the memory.

Of E2B half the parameters, of E4B more than a third, are a table of what each layer gets of every
token: --config.train.only="llm/layers|merger" leaves it as it is, which saves its gradient and
moments.
"""

from ml_collections import ConfigDict, config_dict

from configs import common

# Visual tokens of a frame at the released budget, and the patches of one.
FRAME, PATCHES = 70, 9


def get_config(arg: str | None = None) -> ConfigDict:
    """The published model; see the module's docstring for the arguments."""
    return common.published(
        "gemma4",
        arg,
        size="e2b",
        candidates=(8, 16, 32, 64),
        layout={
            # The most visual tokens of an image and of a frame, 70, 140, 280, 560 or 1120; unset:
            # as the processor files of the path say.
            "image_tokens": config_dict.placeholder(int),
            "frame_tokens": config_dict.placeholder(int),
            "row_tokens": 8192,
            "row_patches": 100 * FRAME * PATCHES,
        },
    )
