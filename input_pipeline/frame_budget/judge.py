"""A vision-language model decides: it sees a few frames and the instruction and names a budget.

It is asked to weigh five things: how long the event lasts, how continuous its motion is, whether
causes matter, how objects interact, and how fine the visual attributes are.
"""

import json
import re
import threading
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np
from absl import logging

from input_pipeline.frame_budget.budget import BudgetQuery, Policy
from input_pipeline.frame_budget.endpoint import Endpoint
from input_pipeline.frame_budget.tools import (
    Answers,
    Ask,
    ModelError,
    Refused,
    Tools,
    content_key,
    question_key,
)

# Raise when the prompt's words change, since answers are kept under it, and the version of the
# index (input_pipeline/index/prepare.py) with it.
PROMPT_VERSION = 1
UNUSABLE = "no usable answer"  # stands in the reason where the fallback decided

CRITERIA = {
    "event_duration": "how brief the events asked about are (5: under a second)",
    "motion_continuity": "how much the answer depends on following motion without gaps",
    "causal_relations": "how much it depends on what led to what, or on the order of events",
    "object_interaction": "how much it depends on how people and objects act on each other",
    "fine_grained_visual_attributes": "how much it depends on details that only some frames show",
}
_REASON_NAMES = {name: name.split("_")[0] for name in CRITERIA}
_REASON_NAMES["fine_grained_visual_attributes"] = "attributes"

_PROMPT = """\
Decide how many frames of a video a model has to see to carry out an instruction. More frames cost \
more, so choose the fewest with which the answer is safe.

The {shown} pictures are frames of the video, evenly spaced and in order. The video lasts \
{seconds:.1f} seconds. The instruction, which you must not carry out, is between the lines:
-----
{instruction}
-----
Rate from 1 (not at all) to 5 (very much):
{criteria}
Then choose the number of frames, spread evenly over the whole video: one of {candidates}.
Reply with one JSON object and nothing else, like this:
{{{example}, "frames": {first}}}"""


class Judge:
    """(query) -> (frames, reason), for a canonical "judge" spec and the policy of its "fallback".

    Answers are kept by (prompt version, model, instruction, medium), so each question is asked
    once. `unusable` counts what came back as neither JSON nor a candidate, or not at all; then the
    fallback decides, and the reason says so.
    """

    def __init__(self, spec: Mapping[str, Any], tools: Tools, fallback: Policy):
        self._spec, self._fallback = spec, fallback
        self._ask = _ask(spec, tools)
        self._name = PurePath(spec["model"] or spec["path"]).name
        self._answers: Answers = tools.answers()
        self._lock = threading.Lock()
        self.unusable = 0

    def __call__(self, query: BudgetQuery) -> tuple[int, str]:
        candidates = self._spec["candidates"]
        if query.media.frames <= candidates[0]:
            return candidates[0], "any judgement"
        try:
            answer = self._answer(query)
            frames, ratings = read_answer(answer, candidates)
        except (Refused, ValueError) as error:
            return self._without(query, str(error))
        said = ", ".join(f"{_REASON_NAMES[name]} {ratings[name]}" for name in ratings)
        return frames, f"judged by {self._name}" + (f": {said}" if said else "")

    def _answer(self, query: BudgetQuery) -> str:
        spec = self._spec
        frames = None
        medium = query.media_id
        if not medium:
            frames = self._preview(query)
            medium = content_key(frames)
        question = question_key(
            *("judge", PROMPT_VERSION, self._ask.identity, spec["candidates"]),
            *(spec["preview_frames"], spec["preview_pixels"], query.instruction, medium),
        )
        known = self._answers.get(question)
        if known is None:
            frames = self._preview(query) if frames is None else frames
            seconds = query.media.duration_s
            asked = prompt(query.instruction, seconds, len(frames), spec["candidates"])
            known = self._ask(asked, frames, seconds)
            self._answers.put(question, known)
        return known

    def _preview(self, query: BudgetQuery) -> np.ndarray:
        return query.preview(self._spec["preview_frames"], self._spec["preview_pixels"])

    def _without(self, query: BudgetQuery, problem: str) -> tuple[int, str]:
        with self._lock:
            self.unusable += 1
            count = self.unusable
        if count & (count - 1) == 0:  # 1, 2, 4, 8, …
            logging.warning(
                "frame budget: %d unusable answers of %s, the last: %s", count, self._name, problem
            )
        budget = self._fallback(query)
        return budget.frames, f"{budget.reason} ({UNUSABLE} of {self._name})"


def _ask(spec: Mapping[str, Any], tools: Tools) -> Ask:
    if spec["url"]:
        return Endpoint(spec)
    if tools.ask is None:
        raise ModelError(
            f"frame budget: the judge's 'path' {spec['path']!r} is a model to be loaded, and no "
            "way to was given: pass tools with an `ask` to make_policy, or name a 'url'"
        )
    return tools.ask(spec)


def prompt(instruction: str, seconds: float, shown: int, candidates: Sequence[int]) -> str:
    """What the model is asked. seconds: of the clip. shown: pictures that go with it."""
    *others, last = (str(candidate) for candidate in candidates)
    return _PROMPT.format(
        shown=shown,
        seconds=seconds,
        instruction=instruction.strip(),
        criteria="\n".join(f"- {name}: {meaning}" for name, meaning in CRITERIA.items()),
        candidates=f"{', '.join(others)} or {last}" if others else last,
        example=", ".join(f'"{name}": 1' for name in CRITERIA),
        first=candidates[0],
    )


def read_answer(text: str, candidates: Sequence[int]) -> tuple[int, dict[str, int]]:
    """(frames, ratings) of a model's answer: its last JSON object with "frames".

    Words and code fences around it are let pass, and ratings may be missing. Raises ValueError
    where there is no such object, or its frames are not one of `candidates`.
    """
    found = None
    for match in re.finditer(r"\{[^{}]*\}", text):
        try:
            value = json.loads(match.group())
        except ValueError:
            continue
        if "frames" in value:
            found = value
    if found is None:
        raise ValueError(f"no JSON object with frames in {text[:200]!r}")
    frames = found["frames"]
    if isinstance(frames, str) and frames.strip().isdecimal():
        frames = int(frames)
    if isinstance(frames, bool) or frames not in candidates:
        raise ValueError(f"frames {frames!r} is not one of {list(candidates)}")
    ratings = {name: found[name] for name in CRITERIA if found.get(name) in (1, 2, 3, 4, 5)}
    return int(frames), {name: int(rating) for name, rating in ratings.items()}
