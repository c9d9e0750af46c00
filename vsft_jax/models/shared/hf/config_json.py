"""What reading transformers' config.json is in every family. It may leave out what is default."""

from collections.abc import Mapping
from typing import Any

from vsft_jax.models.shared.config import check


def require(holds: bool, message: str) -> None:
    """Raises ValueError naming config.json unless `holds`."""
    check(holds, f"config.json: {message}")


def require_family(config: Mapping[str, Any], model_type: str, *parts: str) -> None:
    """Raises ValueError for another model's config.json, and for one without these parts."""
    found = config.get("model_type")
    require(found == model_type, f"model_type {found!r} is not {model_type}")
    for part in parts:
        require(part in config, f"{part} is missing")


def rope(text: Mapping[str, Any]) -> dict[str, Any]:
    """The rotary numbers of a text_config, where transformers 4 and 5 keep them."""
    return {**(text.get("rope_scaling") or {}), **(text.get("rope_parameters") or {})}


def rope_type(text: Mapping[str, Any]) -> str:
    """The kind of rotary embedding, "default" where nothing is said."""
    found = rope(text)
    return found.get("rope_type", found.get("type", "default"))


def tied(config: Mapping[str, Any], text: Mapping[str, Any]) -> bool:
    """Whether the head is the embedding; older versions said it on top, newer ones in the text."""
    return bool(config.get("tie_word_embeddings") or text.get("tie_word_embeddings"))
