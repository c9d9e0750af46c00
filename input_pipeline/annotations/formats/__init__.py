"""Records in, `Parsed` conversations out: annotation formats, one module each.

A new one is a module and an entry in `FORMATS`.
A format's module has WANTED, what its records look like in a few words; KEYS, the keys of a record
that it reads beside those of clips; `recognises(record)`;
`parse(record) -> Parsed`, which raises Unusable; and, where a record holds several examples,
`split(record)`, one record for each.
"""

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

from input_pipeline.annotations.formats import conversations, messages, question_answer, shards
from input_pipeline.annotations.formats.medium import CLIP_KEYS, NUMBER_KEYS, Medium
from input_pipeline.annotations.formats.parsed import Parsed
from input_pipeline.annotations.rejected import AnnotationError
from input_pipeline.annotations.unread import lookalikes

__all__ = ["CLIP_KEYS", "FORMATS", "NUMBER_KEYS", "Medium", "Parsed", "find_format"]

FORMATS: dict[str, ModuleType] = {
    "conversations": conversations,
    "messages": messages,
    "question_answer": question_answer,
    "shards": shards,
}


def find_format(name: str, path: str, records: Sequence[Any]) -> ModuleType:
    """The format called `name`; where that is "", the one that most of the first records are of.

    Raises AnnotationError for an unknown name, and for records of no known format.
    """
    if name:
        if name not in FORMATS:
            raise AnnotationError(f"format {name!r} of {path}: known formats are {list(FORMATS)}")
        return FORMATS[name]
    objects = [record for record in records if isinstance(record, Mapping)]
    votes = {name: sum(map(known.recognises, objects)) for name, known in FORMATS.items()}
    best = max(votes, key=votes.__getitem__)
    if votes[best]:
        return FORMATS[best]
    found = "no JSON object (JSONL has one whole object on each line)"
    if objects:
        keys = sorted({key for record in objects for key in record})
        found = f"records with the keys {keys[:20]}"
        read = frozenset().union(*(known.KEYS for known in FORMATS.values() if known != shards))
        if slips := list(map(str, lookalikes(objects[0], read))):
            found += f" ({'; '.join(slips)})"
    known = "; ".join(f"{name}: {known.WANTED}" for name, known in FORMATS.items())
    raise AnnotationError(
        f"annotation file {path} is in no known format: found {found}; known formats are {known}"
    )
