"""What an export of ours says beside transformers' files: the layout and the frame policy that the
model was trained with. A run that begins with such a directory has them as defaults."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from input_pipeline.frame_budget import canonical_spec
from vsft_jax.huggingface import HFError, read_json

EXPORT_RECORD = "vsft.json"


def exported_layout(directory: Path | None) -> dict[str, Any]:
    """The choices of the layout rules, {} for a directory that is no export of ours. Raises HFError
    for a broken one."""
    found = _record(directory).get("layout", {})
    if not isinstance(found, Mapping):
        raise HFError(f"{directory}/{EXPORT_RECORD}: layout = {found!r:.80}: expected a mapping")
    return {key: tuple(v) if isinstance(v, list) else v for key, v in found.items()}


def exported_frames(directory: Path | None) -> dict[str, Any] | None:
    """The resolved frame-budget spec, None where there is none. Raises HFError for a broken one."""
    found = _record(directory).get("frames")
    if found is None:
        return None
    try:
        return canonical_spec(found)
    except ValueError as error:
        raise HFError(f"{directory}/{EXPORT_RECORD}: frames: {error}") from error


def _record(directory: Path | None) -> Mapping[str, Any]:
    path = directory / EXPORT_RECORD if directory else None
    return read_json(path) if path and path.is_file() else {}
