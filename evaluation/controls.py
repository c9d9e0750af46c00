"""Controls against guessing: the same questions with something taken away.

no_visual         no pictures and no clips: what a model that only reads would get
one_frame         the middle frame of a clip, as often as the model's tower needs one
shuffled_frames   a clip's frames in another order
shuffled_options  the options of a choice under other letters

Each is a function of the question alone, so it is the same for every model and on every machine.
Questions that a control does not change are left out of it.
"""

import dataclasses
import re
import zlib
from collections.abc import Callable

import numpy as np

from input_pipeline.batches.rows import Item
from input_pipeline.examples import Example, MediaRef
from input_pipeline.layout import ExampleLayout, MediaLayout, VisionLayout
from input_pipeline.text import ChatTokenizer


def controlled(item: Item, control: str, chat: ChatTokenizer, rules: VisionLayout) -> Item | None:
    """A question, prepared in "prompt" mode, under a control; None where it would stay as it is.

    control: a key of `results.CONTROLS`. rules: those that the question was laid out by; under
    "one_frame" with as few frames as they allow.
    """
    changed = _CHANGES[control](*item)
    if changed is None:
        return None
    return laid_out_again(*changed, chat, rules)


def laid_out_again(
    example: Example, layout: ExampleLayout, chat: ChatTokenizer, rules: VisionLayout
) -> Item:
    """A question whose words or media were changed, its tokens counted anew."""
    words = chat.encode_prompt(example, [rules.placeholder(m) for m in layout.media]).ids
    beyond = sum(medium.tokens - medium.placeholders for medium in layout.media)
    return example, dataclasses.replace(layout, tokens=len(words) + beyond)


def _no_visual(example: Example, layout: ExampleLayout) -> Item | None:
    if not layout.media:
        return None
    turns = tuple(
        dataclasses.replace(turn, parts=tuple(p for p in turn.parts if isinstance(p, str)))
        for turn in example.turns
    )
    return dataclasses.replace(example, turns=turns), ExampleLayout((), 0, 0, "")


def _one_frame(example: Example, layout: ExampleLayout) -> Item | None:
    def middle(medium: MediaLayout) -> MediaLayout:
        indices, times = medium.frame_indices, medium.frame_times
        last, half = (len(indices) - 1) // 2, len(indices) // 2
        return dataclasses.replace(
            medium,
            frame_indices=((indices[last] + indices[half]) // 2,) * len(indices),
            frame_times=((times[last] + times[half]) / 2,) * len(indices),
        )

    if not any(medium.kind == "video" for medium in layout.media):
        return None
    media = tuple(middle(m) if m.kind == "video" else m for m in layout.media)
    return example, dataclasses.replace(layout, media=media)


def _shuffled_frames(example: Example, layout: ExampleLayout) -> Item | None:
    """The times that some models are told with the frames stay in order."""

    def shuffled(ref: MediaRef, medium: MediaLayout) -> MediaLayout:
        # The clip's own order, so that questions about it still share what is seen.
        random = np.random.default_rng(zlib.crc32(repr(ref.to_json()).encode()))
        order = random.permutation(len(medium.frame_indices)).tolist()
        return dataclasses.replace(
            medium, frame_indices=tuple(medium.frame_indices[i] for i in order)
        )

    media = tuple(
        shuffled(ref, medium) if medium.kind == "video" else medium
        for ref, medium in zip(example.media, layout.media, strict=True)
    )
    if media == layout.media:
        return None
    return example, dataclasses.replace(layout, media=media)


def _shuffled_options(example: Example, layout: ExampleLayout) -> Item | None:
    """Options move on by some places, so that each has another letter. None where they do not stand
    in the question, each once on a line of its own."""
    choices = example.meta.get("choices")
    if example.meta.get("format") != "choice" or not choices or len(choices) < 2:
        return None
    letters = list(choices)
    by = 1 + zlib.crc32(example.id.encode()) % (len(letters) - 1)
    moved = {letter: choices[letters[i - by]] for i, letter in enumerate(letters)}
    turns, found = [], 0
    for turn in example.turns:
        parts = []
        for part in turn.parts:
            if turn.role == "user" and isinstance(part, str) and _lines(part, choices):
                part, found = _with_options(part, choices, moved), found + 1
            parts.append(part)
        turns.append(dataclasses.replace(turn, parts=tuple(parts)))
    answer = example.meta["answer"]
    if found != 1 or answer not in choices or moved == choices:
        return None
    now = letters[(letters.index(answer) + by) % len(letters)]
    meta = {**example.meta, "choices": moved, "answer": now}
    return dataclasses.replace(example, turns=tuple(turns), meta=meta), layout


def _lines(text: str, choices: dict[str, str]) -> list[re.Match[str]]:
    """Where each option's text stands, in their order; none unless all do, each once."""
    found = []
    for letter, option in choices.items():
        line = rf"^\s*\(?{re.escape(letter)}[.):]\s*({re.escape(option)})\s*$"
        matches = list(re.finditer(line, text, re.MULTILINE))
        if len(matches) != 1:
            return []
        found += matches
    return found


def _with_options(text: str, choices: dict[str, str], moved: dict[str, str]) -> str:
    places = zip(_lines(text, choices), moved.values(), strict=True)
    for match, option in sorted(places, key=lambda place: -place[0].start(1)):
        text = text[: match.start(1)] + option + text[match.end(1) :]
    return text


# By the names of `results.CONTROLS`.
_CHANGES: dict[str, Callable[[Example, ExampleLayout], Item | None]] = {
    "no_visual": _no_visual,
    "one_frame": _one_frame,
    "shuffled_frames": _shuffled_frames,
    "shuffled_options": _shuffled_options,
}
