"""transformers' SmolVLM2: names and layout of its tensors, and its processor."""

from typing import Any

from vsft_jax.models.shared.hf import llava as llava_hf
from vsft_jax.models.shared.hf import llava_processor
from vsft_jax.models.shared.hf.table import Tensor, decoder_rows, linear, norm
from vsft_jax.models.smolvlm.config import ModelConfig
from vsft_jax.models.smolvlm.layout import Layout

_TOWER = "model.vision_model"


def checkpoint_table(config: ModelConfig) -> list[Tensor]:
    """Every tensor of a checkpoint. Each parameter is a part of exactly one."""
    rows = llava_hf.tower_rows(config.vision, _TOWER)
    rows += norm(f"{_TOWER}.post_layernorm", "visual/post_norm", bias=True)
    rows += linear("model.connector.modality_projection.proj", "merger/proj", bias=False)
    return rows + decoder_rows(config.text, "model.text_model")


def canonical_name(name: str) -> str | None:
    """A tensor's name in the table; None for a buffer that older versions stored."""
    if name.endswith(("position_ids", "rotary_emb.inv_freq")):
        return None
    return name


def released_name(name: str) -> str:
    """The published name of one of the table's tensors: the same."""
    return name


def processor_files(config: ModelConfig, layout: Layout) -> dict[str, dict[str, Any]]:
    """Name and content of the files from which transformers makes the model's processor."""
    side = {"longest_edge": layout.image_size}
    shared = {
        "processor_class": "SmolVLMProcessor",
        "max_image_size": side,
        "do_pad": True,
        **llava_processor.pixels_to_hf(config.vision),
    }
    return {
        "preprocessor_config.json": {
            "image_processor_type": "SmolVLMImageProcessor",
            "size": {"longest_edge": layout.image_longest_edge},
            "do_image_splitting": layout.image_split,
            **shared,
        },
        "video_preprocessor_config.json": {
            "video_processor_type": "SmolVLMVideoProcessor",
            "size": {"longest_edge": layout.clip_longest_edge},
            # Frames by their second, which leave out the first and last one: no policy here.
            "do_sample_frames": False,
            "video_sampling": {"fps": 1, "max_frames": 64},
            **shared,
        },
        "processor_config.json": {
            "processor_class": "SmolVLMProcessor",
            "image_seq_len": layout.tokens_of_input,
        },
    }
