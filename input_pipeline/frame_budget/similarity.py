"""Visual novelty decides: how much neighbouring preview frames differ, in pixels or to a model."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from input_pipeline.frame_budget.candidates import at_level, nearest_candidate
from input_pipeline.frame_budget.novelty import novelty
from input_pipeline.frame_budget.query import BudgetQuery
from input_pipeline.frame_budget.tools import (
    Answers,
    Embed,
    ModelError,
    Tools,
    content_key,
    question_key,
)


class Similarity:
    """(query) -> (frames, why), for a canonical "similarity" spec."""

    def __init__(self, spec: Mapping[str, Any], tools: Tools):
        self._spec = spec
        self._novelty = ModelNovelty(spec, tools) if spec["features"] != "pixel" else None

    def __call__(self, query: BudgetQuery) -> tuple[int, str]:
        spec, candidates = self._spec, self._spec["candidates"]
        if query.media.frames <= candidates[0]:
            return candidates[0], "any novelty"
        if self._novelty is None:
            value = novelty(query.preview(spec["preview_frames"]))
        else:
            value = self._novelty(query)
        low, high = spec["novelty_low"], spec["novelty_high"]
        level = min(max((value - low) / (high - low), 0.0), 1.0)
        frames = nearest_candidate(candidates, at_level(candidates, level))
        features = "" if self._novelty is None else f" ({spec['features']})"
        return frames, f"novelty {value:.2f}{features}"


class ModelNovelty:
    """How different neighbouring previews are to a model: the mean of 1 - cosine of their vectors.

    0: all alike; vectors of unrelated pictures come near 1. Kept by the content of the previews, so
    that a clip with many questions, or a second look with other thresholds, costs the model once.
    """

    def __init__(self, spec: Mapping[str, Any], tools: Tools):
        if tools.embed is None:
            raise ModelError(
                f"frame budget: 'features' {spec['features']!r} needs a model, and none was given: "
                "pass tools with an `embed` to make_policy"
            )
        self._embed: Embed = tools.embed(spec)
        self._answers: Answers = tools.answers()
        self._count = spec["preview_frames"]

    def __call__(self, query: BudgetQuery) -> float:
        frames = query.preview(self._count, self._embed.side)
        question = question_key("novelty", self._embed.identity, content_key(frames))
        known = self._answers.get(question)
        if known is None:
            known = repr(cosine_novelty(self._embed(frames)))
            self._answers.put(question, known)
        return float(known)


def cosine_novelty(vectors: np.ndarray) -> float:
    """Mean of 1 - cosine of neighbouring rows of float[F, D]; 0 for fewer than two."""
    if len(vectors) < 2:
        return 0.0
    vectors = np.asarray(vectors, np.float64)
    units = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return float(1.0 - (units[1:] * units[:-1]).sum(axis=1).mean())
