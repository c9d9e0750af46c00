"""Lists and objects that a file holds as text: JSON, or as Python prints them (pandas does)."""

import ast
import json
from typing import Any

_MAX_PRINTED = 2**20  # characters that Python's own parser gets to see


def from_text(value: Any) -> Any:
    """The list or object that a text stands for; any other value as it is."""
    if not isinstance(value, str) or value.lstrip()[:1] not in ("[", "{"):
        return value
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        found = _printed(value)
    return found if isinstance(found, list | dict) else value


def _printed(text: str) -> Any:
    """Literals alone: nothing in the text is run."""
    try:
        return ast.literal_eval(text.strip()) if len(text) <= _MAX_PRINTED else None
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return None
