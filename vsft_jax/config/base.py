"""A config as JSON."""

import json
from typing import Any

from ml_collections import ConfigDict


def as_json(config: ConfigDict) -> dict[str, Any]:
    """The config as JSON values, for records of what was run."""
    return json.loads(config.to_json_best_effort())
