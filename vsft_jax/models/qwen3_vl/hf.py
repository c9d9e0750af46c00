"""transformers' Qwen3-VL checkpoints: names and layout of their tensors."""

from vsft_jax.models.qwen3_vl.config import ModelConfig
from vsft_jax.models.shared.hf.qwen_files import processor_files
from vsft_jax.models.shared.hf.qwen_table import canonical_name, merger_rows, tower_rows
from vsft_jax.models.shared.hf.table import Tensor, decoder_rows

__all__ = ["canonical_name", "checkpoint_table", "processor_files", "released_name"]


def checkpoint_table(config: ModelConfig) -> list[Tensor]:
    """Every tensor of a checkpoint. Each parameter is a part of exactly one."""
    vision = config.vision
    rows = tower_rows(vision)
    rows += merger_rows(
        "model.visual.deepstack_merger_list.{i}", "merger/deepstack", len(vision.deepstack_layers)
    )
    return rows + decoder_rows(config.text)


def released_name(name: str) -> str:
    """The published name of one of the table's tensors: the same."""
    return name
