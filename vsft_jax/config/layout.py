"""The layout rules of a run: what may be chosen of them, and who chose it.

`config.layout` beats what an export of ours wrote beside the model, that beats the processor files
of the model's directory, and without either the sizes are the released model's.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from absl import logging
from ml_collections import ConfigDict

from input_pipeline.layout import VisionLayout
from input_pipeline.media import MediaInfo
from vsft_jax.config.exported import EXPORT_RECORD, exported_layout
from vsft_jax.errors import ConfigError
from vsft_jax.huggingface import read_json
from vsft_jax.models import Family
from vsft_jax.models.shared.config import TextConfig
from vsft_jax.models.shared.hf.processor import NAMES, VIDEO_FILE, Stated

_ONCE = {"once": True}  # a job says it once, however many runs it makes; see front/console.py
_ROW = ("row_tokens", "row_patches")


class Choice(NamedTuple):
    """A value of the layout rules and where it stands."""

    value: Any
    source: str


def stated_by(directory: Path | None) -> Stated:
    """What a directory's processor files state. Raises HFError for a file that is broken."""
    there = [name for name in NAMES if directory and (directory / name).is_file()]
    return Stated.of({name: read_json(directory / name) for name in there if directory})


def choices_of(
    config: ConfigDict, family: Family, vision: Any, directory: Path | None
) -> dict[str, Choice]:
    """Everything that was chosen of the family's layout rules, by name.

    directory: of the model, None without. Raises ConfigError where its files state what is not
    computed here.
    """
    stated = stated_by(directory)
    try:
        sizes = family.stated_layout(vision, stated)
    except (TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"config.model.path = {config.model.path!r}: {error}") from error
    found = {key: Choice(value, _file_of(key, stated)) for key, value in sizes.items()}
    recorded = exported_layout(directory)
    found |= {key: Choice(value, EXPORT_RECORD) for key, value in recorded.items()}
    given = {key: v for key, v in config.layout.items() if v is not None and key not in _ROW}
    return found | {key: Choice(value, "config.layout") for key, value in given.items()}


def layout_of(
    config: ConfigDict, family: Family, architecture: Any, choices: Mapping[str, Choice]
) -> VisionLayout:
    """Layout rules: geometry from the model's tower, what may be chosen from `choices`.

    Raises ConfigError.
    """
    try:
        values = {key: choice.value for key, choice in choices.items()}
        return family.layout(architecture.vision, **values)
    except TypeError as error:
        unknown = re.search(r"unexpected keyword argument '(\w+)'", str(error))
        where = f"config.layout.{unknown[1]}" if unknown else "config.layout"
        raise ConfigError(
            f"{where}: the layout rules of {family.name} have no such key; those that they have "
            f"stand in configs/{family.name}.py"
        ) from error
    except ValueError as error:
        others = {choice.source for choice in choices.values()} - {"config.layout"}
        where = f"; in force are {in_words(choices)}" if others and config.model.path else ""
        raise ConfigError(f"config.layout: {error}{where}") from error


def in_words(choices: Mapping[str, Choice]) -> str:
    """What is in force and where it stands: image_min_pixels 3136 (preprocessor_config.json); …"""
    sources = dict.fromkeys(choice.source for choice in choices.values())
    return "; ".join(
        ", ".join(f"{key} {c.value}" for key, c in choices.items() if c.source == source)
        + f" ({source})"
        for source in sources
    )


def announce(
    config: ConfigDict,
    layout: VisionLayout,
    text: TextConfig,
    choices: Mapping[str, Choice],
    stated: Stated,
) -> None:
    """Logs the limits in force and where each comes from, and what a row cannot hold at them."""
    row = {key: config.layout[key] for key in _ROW}
    in_force = dict(choices) | {key: Choice(value, "config.layout") for key, value in row.items()}
    logging.info("layout: %s", in_words(in_force), extra=_ONCE)
    if sampling := stated.sampling():
        logging.info(
            "frames: by config.frames, not as the model's own processor samples them (%s, %s)",
            sampling,
            stated.video.file if stated.video else VIDEO_FILE,
            extra=_ONCE,
        )
    picture = layout.lay_out(MediaInfo("image", 10**4, 10**4, (0.0,), 0.0), (0,), 1.0)
    if picture.tokens > row["row_tokens"] or picture.patches > row["row_patches"]:
        logging.warning(
            "a picture may take %d tokens and %d patches, and a row holds config.layout.row_tokens "
            "= %d and row_patches = %d: what does not fit loses pixels and is counted as shrunk",
            *(picture.tokens, picture.patches, row["row_tokens"], row["row_patches"]),
            extra=_ONCE,
        )
    if row["row_tokens"] > text.longest:
        logging.warning(
            "config.layout.row_tokens = %d: an example may be longer than the %d positions that "
            "the model was made for (max_position_embeddings)",
            *(row["row_tokens"], text.longest),
            extra=_ONCE,
        )


def _file_of(key: str, stated: Stated) -> str:
    """Where a choice stands that the processor files may make."""
    settings = stated.video if key.startswith(("video", "clip")) else stated.image
    return settings.file if settings else "as released"
