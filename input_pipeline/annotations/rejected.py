"""What is said about annotations that cannot be used: one record, or a whole file."""

import dataclasses
from typing import NamedTuple

from input_pipeline.errors import UserError


class AnnotationError(UserError):
    """A whole annotation file cannot be used. The message names the file and the place in it."""


class Reason(NamedTuple):
    """Why a record is left out, in words, and what can be done about it."""

    meaning: str
    remedy: str


_TURNS = "docs/data.md has the rules for turns"
_TAGS = "a user turn needs one <image> or <video> for each medium of the record, in order"

REASONS = {
    # The record itself.
    "bad_json": Reason("the line does not parse", "one whole JSON object a line"),
    "bad_record": Reason("not a record that can be read", "the details name the value"),
    "too_large": Reason("a record of over 16 MiB", "keep media in files and name their paths"),
    "too_deep": Reason("nested too deep", "lists and objects may nest 32 levels"),
    # Its fields.
    "missing_column": Reason(
        "a column of the column map is not there, or no text",
        'fill it in, or write "{name?}" in "columns" where it may be missing',
    ),
    "bad_id": Reason("an id that is no name", 'make "id" a string or an integer, or leave it out'),
    "duplicate": Reason("the same id and turns as an earlier record", "take one of them away"),
    "bad_media": Reason("a medium without a usable path", "a path below media_root"),
    "unread_media": Reason(
        "names a medium under a key that is not read",
        'name it in the set\'s "columns", or take the key away where the example is text alone',
    ),
    "unread_options": Reason(
        "options under keys that are not read",
        'name them in the set\'s "columns", or leave them out there: "A": None',
    ),
    "bad_clip": Reason("a clip without a usable start and end", "seconds, the end after the start"),
    "path_outside_root": Reason(
        "a path that leaves media_root", "set media_root to a folder above"
    ),
    # Its turns.
    "bad_turn": Reason("turns that are missing or of no known form", _TURNS),
    "unknown_role": Reason("a turn of an unknown role", "human, gpt, user, assistant or system"),
    "turn_order": Reason("turns that do not alternate", _TURNS),
    "empty_question": Reason("a question without text", "fill it in, or take the record away"),
    "empty_answer": Reason("an answer without text", "fill it in, or take the record away"),
    "bad_answer": Reason("an answer that is not one of the options", "the letter, text or place"),
    "control_token": Reason(
        "a <|…|> in a text, which would open a turn", "take it out of the text"
    ),
    # Media and their tags.
    "tag_without_media": Reason("more tags than media", _TAGS),
    "media_without_tag": Reason("more media than tags", _TAGS),
    "misplaced_tag": Reason("a tag outside the user's turns", _TAGS),
}


@dataclasses.dataclass(frozen=True)
class Rejected:
    """One record that cannot be used, and why.

    record: line number in JSONL, position in other files, from 1; None where it is not known.
    id: the record's id where it could be read, else "". detail: for people, on one line; what was
    found while reading begins with the file and the record's place in it.
    path: the file at fault, here the annotation file. stage: where it was found.
    reason: one word for counting; while reading one of `REASONS`.
    """

    record: int | None
    id: str
    reason: str
    detail: str
    path: str | None = None
    stage: str = "read"


class Unusable(Exception):
    """Raised while a record is read, to reject it. reason, detail: as in `Rejected`.

    Raises ValueError for a reason that is not in the table.
    """

    def __init__(self, reason: str, detail: str):
        if reason not in REASONS:
            raise ValueError(f"reason {reason!r}: one of {', '.join(REASONS)} was wanted")
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail
