"""What every annotation format is read into, before it is checked: `Parsed`."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from input_pipeline.annotations.formats.medium import Medium
from input_pipeline.examples import Role


@dataclasses.dataclass(frozen=True)
class Parsed:
    """A record as its format understands it.

    turns: (role, pieces); a text may hold <image> and <video> tags.
    media: those of the record, which go to the tags of their kind in order.
    used:  the record's keys that are accounted for; the others become metadata.
    meta:  further metadata.
    exact: the texts have been stripped of the space around media before.
    unread: what turns and their content parts carry and nothing reads, by the way to it.
    reasoning: what answers think before their text, by the place of the turn from 0.
    """

    turns: list[tuple[Role, list[str | Medium]]]
    media: list[Medium]
    used: frozenset[str]
    meta: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    exact: bool = False
    unread: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    reasoning: Mapping[int, str] = dataclasses.field(default_factory=dict)
