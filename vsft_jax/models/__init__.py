"""Models: one folder a family, and the layers they share.

In: a family's name, and the fields of a batch. Out: a `Family`: its model, what transformers calls
its numbers and tensors, and the layout rules of its media. docs/models.md says how to add one.
"""

import importlib

from vsft_jax.models.family import Family, PortedModel
from vsft_jax.models.shared.vlm import VisionLanguageModel

FAMILIES = (
    "qwen2_5_vl",
    "qwen3_vl",
    "llava_1_5",
    "llava_next_video",
    "llava_onevision",
    "smolvlm",
    "gemma4",
    "qwen3_5",
)


def family_named(name: str) -> Family:
    """The family of that name. Raises ValueError naming the known ones."""
    if name not in FAMILIES:
        raise ValueError(f"model family {name!r} is unknown; use one of {FAMILIES}")
    return importlib.import_module(f"vsft_jax.models.{name}").FAMILY


__all__ = ["FAMILIES", "Family", "PortedModel", "VisionLanguageModel", "family_named"]
