"""What is said about annotations that cannot be used: one record, or a whole file."""

import dataclasses


class AnnotationError(Exception):
    """A whole annotation file cannot be used. The message names the file and the place in it."""


@dataclasses.dataclass(frozen=True)
class Rejected:
    """One record that cannot be used, and why.

    record: line number in JSONL, position in other files, from 1; None where it is not known.
    id: the record's id where it could be read, else "". detail: for people.
    path: the file at fault, here the annotation file. stage: where it was found.
    reason: one word for counting; one of
        bad_json, bad_record, too_large, too_deep                      (the record itself)
        bad_id, duplicate, bad_media, bad_clip, path_outside_root      (its fields)
        bad_turn, unknown_role, turn_order, empty_question, empty_answer, bad_answer, control_token
        tag_without_media, media_without_tag, misplaced_tag            (media and their tags)
    """

    record: int | None
    id: str
    reason: str
    detail: str
    path: str | None = None
    stage: str = "read"


class Unusable(Exception):
    """Raised while a record is read, to reject it. reason, detail: as in `Rejected`."""

    def __init__(self, reason: str, detail: str):
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail
