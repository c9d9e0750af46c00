"""What every part of a config needs: JSON of it, and where its paths lead."""

import json
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict


def as_json(config: ConfigDict) -> dict[str, Any]:
    """The config as JSON values, for records of what was run."""
    return json.loads(config.to_json_best_effort())


def is_address(path: str) -> bool:
    """Whether a path is an address such as gs://bucket/folder."""
    return "://" in path


def located(path: str, root: str | Path) -> str:
    """Where a config's path leads: an address or an absolute path.

    path: an address or an absolute path stays what it is; a relative path starts at the root.
    root: an absolute path or an address.
    """
    if is_address(path):
        return path
    if is_address(str(root)) and not Path(path).is_absolute():
        return f"{str(root).rstrip('/')}/{path}" if path else str(root)
    return str((Path(root) / path).absolute())
