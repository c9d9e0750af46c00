"""Plain questions: {"question": …, "answer": …, "options": […], "image" or "video": …}.

Without tags in a question the media come before the first. With options a question ends with one
line for each, "A. red", and with the request for a letter, and the letter is the answer that is
taught. "answer_place" in place of "answer" is the place of the right option from 0.
"questions": [{"question": …, "answer": …}, …] come before the record's own, as turns.
"""

from collections.abc import Mapping
from typing import Any

from input_pipeline.annotations.formats.medium import MEDIA_KEYS, Medium, record_media
from input_pipeline.annotations.formats.options import (
    letter_at,
    read_options,
    right_letter,
    unread_options,
)
from input_pipeline.annotations.formats.parsed import Parsed
from input_pipeline.annotations.rejected import Unusable
from input_pipeline.examples import Role

WANTED = '"question": …, "answer": …'
_OPTIONS = ("options", "candidates", "choices")
_PLACE = "answer_place"
KEYS = frozenset({"question", "answer", _PLACE, "questions", "system", *_OPTIONS, *MEDIA_KEYS})
ASK_LETTER = "Answer with the option's letter."


def recognises(record: Mapping[str, Any]) -> bool:
    """Whether a record is of this format."""
    asked = record.get("questions")
    if isinstance(asked, list) and asked:
        record = asked[0] if isinstance(asked[0], Mapping) else {}
    answered = any(record.get(key) is not None for key in ("answer", _PLACE))
    return isinstance(record.get("question"), str) and answered


def parse(record: Mapping[str, Any]) -> Parsed:
    """Raises Unusable."""
    asked = record.get("questions")
    asked = [] if asked is None else asked
    if not isinstance(asked, list) or not all(isinstance(each, Mapping) for each in asked):
        raise Unusable("bad_turn", f'"questions" must be a list of objects, found {asked!r:.200}')
    used = {"question", "answer", _PLACE, "questions", "options"}
    turns: list[tuple[Role, list[str | Medium]]] = []
    meta: dict[str, Any] = {}
    if not asked or any(record.get(key) is not None for key in ("question", "answer")):
        asked = [*asked, record]
    for each in asked:
        question, answer, meta, key = _asked(each)
        used |= {key} if key and each is record else set()
        turns += [("user", [question]), ("assistant", [answer])]
    media, media_keys = record_media(record)
    if not any(tag in str(pieces[0]) for _, pieces in turns for tag in ("<image>", "<video>")):
        turns[0][1][:0] = media
        media = []
    system = record.get("system")
    if isinstance(system, str) and system.strip():
        turns.insert(0, ("system", [system]))
        used.add("system")
    return Parsed(turns, media, media_keys | used, meta)


def _asked(record: Mapping[str, Any]) -> tuple[str, str, dict[str, Any], str | None]:
    """(question, answer, what a benchmark scores by, the key of the options)."""
    question, answer = record.get("question"), record.get("answer")
    if not isinstance(question, str) or not question.strip():
        raise Unusable("empty_question", f'"question" must be a text, found {question!r}'[:300])
    key = next((key for key in _OPTIONS if record.get(key) not in (None, "", [], {})), None)
    if key == "choices" and "format" in record:
        key = None  # a benchmark's question that lists them itself
    options = read_options(record[key]) if key else None
    if options:
        place = record.get(_PLACE)
        letter = right_letter(answer, options) if place is None else letter_at(place, options)
        lines = [f"{key}. {text}" for key, text in options.texts.items()]
        question = "\n".join([question.strip(), *lines, ASK_LETTER])
        meta = {"answer": letter, "format": "choice", "choices": dict(options.texts)}
        return question, letter, meta, key
    if "format" not in record and (keys := unread_options(record)):
        names = ", ".join(f'"{key}"' for key in keys)
        columns = f'"{{{keys[0]}}}"' if len(keys) == 1 else str([f"{{{k}}}" for k in keys])
        raise Unusable(
            "unread_options",
            f'{names}: options under keys that are not read; "columns": {{"options": '
            f"{columns}}} in the set's entry reads them",
        )
    if isinstance(answer, int | float) and not isinstance(answer, bool):
        answer = str(answer)
    if not isinstance(answer, str):
        raise Unusable("empty_answer", f'"answer" must be a text, found {answer!r}'[:300])
    # "answer" stays in the metadata: a benchmark is scored by it.
    return question, answer, {"answer": answer}, key
