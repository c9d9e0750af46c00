"""SmolVLM2, as released, on your own clips: the smallest models here, for a machine without a TPU.

    vsft --config=configs/smolvlm.py:path=/models/SmolVLM2-256M-Video-Instruct \
        --job=predict --media=clip.mp4 --prompt="What happens?"

    vsft --config=configs/smolvlm.py:path=/models/SmolVLM2-256M-Video-Instruct,\
    annotations=/data/train.json,media_root=/data/videos,frames=hybrid --workdir=runs/mine

Arguments: path= a Hugging Face directory or hub id, for architecture, weights and tokenizer; size=
256m, 500m or 2.2b, checked against the path, or without one a model with random weights; frames= a
number or hybrid, instruction, similarity, duration, random; annotations= and media_root= one
training set (docs/data.md); benchmarks= and benchmark_root= official benchmarks, as in mme+videomme
(docs/evaluation.md); init_from= another run's workdir. For evaluation alone,
--config.model.param_dtype=bfloat16 halves the memory.

An image becomes up to 17 inputs of the tower, which is most of a CPU's time:
--config.layout.image_split=False makes it one.
"""

from ml_collections import ConfigDict, config_dict

from configs import common

# Room for the patches of one picture of the tower, 1024 or 729 of the 2.2b model's, in whole visual
# tokens of either, which are 16 and 9 patches.
INPUT = 8 * 16 * 9


def get_config(arg: str | None = None) -> ConfigDict:
    """The published model; see the module's docstring for the arguments."""
    return common.published(
        "smolvlm",
        arg,
        size="256m",
        candidates=(8, 16, 32),
        layout={
            # Pixels along the longer side of an image, and of a frame before it becomes a square;
            # unset: as the processor files of the path say.
            "image_longest_edge": config_dict.placeholder(int),
            "clip_longest_edge": config_dict.placeholder(int),
            "image_split": config_dict.placeholder(bool),  # whether an image is cut into tiles
            "row_tokens": 4096,
            "row_patches": 33 * INPUT,
        },
    )
