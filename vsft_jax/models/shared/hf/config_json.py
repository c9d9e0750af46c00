"""What reading transformers' config.json is in every family. It may leave out what is default."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from vsft_jax.models.shared.config import TextConfig, check


def require(holds: bool, message: str) -> None:
    """Raises ValueError naming config.json unless `holds`."""
    check(holds, f"config.json: {message}")


def require_family(config: Mapping[str, Any], model_type: str | Sequence[str], *parts: str) -> None:
    """Raises ValueError for another model's config.json (model_type: one, or several), and for one
    without these parts."""
    found = config.get("model_type")
    known = [model_type] if isinstance(model_type, str) else model_type
    require(found in known, f"model_type {found!r} is not {' or '.join(known)}")
    for part in parts:
        require(part in config, f"{part} is missing")


def rope(text: Mapping[str, Any]) -> dict[str, Any]:
    """The rotary numbers of a text_config, where transformers 4 or 5 keeps them; where both are
    there, transformers takes the older ones."""
    return dict(text.get("rope_scaling") or text.get("rope_parameters") or {})


def rope_type(text: Mapping[str, Any], supported: Sequence[str]) -> str:
    """The kind of rotary embedding, "default" where nothing is said. Raises ValueError for one that
    is not among `supported`."""
    found = rope(text)
    kind = found.get("rope_type", found.get("type", "default"))
    require(
        kind in supported,
        f"text_config rope type {kind!r} is not supported (only {', '.join(supported)})",
    )
    return kind


def yarn(text: Mapping[str, Any], max_positions: int) -> dict[str, Any]:
    """Fields of `TextConfig` for a text_config of rope type "yarn", or of another, which has none.

    max_positions: `max_position_embeddings`, which stands for the length before stretching where
    that is left out. Raises ValueError for a factor that is missing or does not stretch.
    """
    found = rope(text)
    if found.get("rope_type", found.get("type")) != "yarn":
        return {}
    factor: Any = found.get("factor")
    require(
        isinstance(factor, int | float) and factor >= 1,
        f"the factor of rope type 'yarn' is {factor!r}: expected a number of at least 1",
    )
    attention = found.get("attention_factor")
    if attention is None:
        scale, scale_all = found.get("mscale"), found.get("mscale_all_dim")
        attention = _attention(factor)
        if scale and scale_all:
            attention = _attention(factor, scale) / _attention(factor, scale_all)
    return {
        "yarn_factor": float(factor),
        "yarn_positions": found.get("original_max_position_embeddings") or max_positions,
        "yarn_fast": float(found.get("beta_fast") or 32),
        "yarn_slow": float(found.get("beta_slow") or 1),
        "yarn_truncate": bool(found.get("truncate", True)),
        "yarn_attention": float(attention),
    }


def yarn_to_hf(text: TextConfig) -> dict[str, Any]:
    """Rotary numbers of a config.json, inverse of `yarn`; {} without."""
    if text.yarn_factor == 1.0:
        return {}
    return {
        "rope_type": "yarn",
        "factor": text.yarn_factor,
        "original_max_position_embeddings": text.yarn_positions,
        "beta_fast": text.yarn_fast,
        "beta_slow": text.yarn_slow,
        "truncate": text.yarn_truncate,
        "attention_factor": text.yarn_attention,
    }


def _attention(factor: float, scale: float = 1.0) -> float:
    """What longer sequences do to the attention's temperature (YaRN, section 3.4)."""
    return 1.0 if factor <= 1 else 0.1 * scale * math.log(factor) + 1.0


def tied(config: Mapping[str, Any], text: Mapping[str, Any]) -> bool:
    """Whether the head is the embedding; older versions said it on top, newer ones in the text."""
    return bool(config.get("tie_word_embeddings") or text.get("tie_word_embeddings"))
