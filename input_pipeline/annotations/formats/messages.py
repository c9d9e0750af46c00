"""OpenAI records: {"messages": [{"role": "user", "content": text or parts}, …]}."""

from collections.abc import Mapping
from typing import Any

from input_pipeline.annotations.formats.dialogue import has_turns, parse_turns
from input_pipeline.annotations.formats.medium import MEDIA_KEYS
from input_pipeline.annotations.formats.parsed import Parsed

WANTED = '"messages": [{"role": "user", "content": …}, …]'
KEYS = frozenset({"messages", "system", *MEDIA_KEYS})


def recognises(record: Mapping[str, Any]) -> bool:
    """Whether a record is of this format."""
    return has_turns(record, "messages")


def parse(record: Mapping[str, Any]) -> Parsed:
    """Raises Unusable."""
    return parse_turns(record, "messages")
