"""Visual novelty: how much a clip's picture changes over a few small preview frames, in pixels or
to a model, and the policy that decides by it alone."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from input_pipeline.frame_budget.budget import (
    BudgetQuery,
    Decide,
    at_level,
    measured,
    nearest_candidate,
)
from input_pipeline.frame_budget.tools import (
    Answers,
    Embed,
    ModelError,
    Tools,
    content_key,
    question_key,
)

# Frames are averaged down to about this many blocks a side: noise goes, motion stays.
PREVIEW_SIDE = 32
CONTRAST_FLOOR = 4.0  # grey levels of 255: below it a picture is flat and its changes are noise


def novelty(frames: np.ndarray) -> float:
    """How different neighbouring preview frames are, relative to the picture's own contrast.

    frames: uint8[F, h, w, 3]. Returns a value >= 0: 0 when nothing changes, about 1 when
    neighbouring frames have no more in common than random pixels of the clip (cuts, a whirling
    camera). It is mean |x[f+1] - x[f]| over mean |x - y| of two random pixels of the clip (Gini's
    mean difference), both on block averages of grey values. Dividing by contrast makes a dark clip
    comparable with a bright one, and lets one small object that crosses a plain background count as
    much as a large one: what matters is whether the content moves, not how many pixels it covers.
    Fewer than two frames have no neighbours: 0.
    """
    if frames.ndim != 4 or frames.shape[-1] != 3:
        raise ValueError(f"preview frames must be uint8[F, h, w, 3], got shape {frames.shape}")
    if len(frames) < 2:
        return 0.0
    grey = _block_means(frames.mean(axis=-1, dtype=np.float64))
    change = np.abs(np.diff(grey, axis=0)).mean()
    return float(change / max(_gini_mean_difference(grey.ravel()), CONTRAST_FLOOR))


def _block_means(grey: np.ndarray) -> np.ndarray:
    """float[F, h, w] averaged over blocks that leave about PREVIEW_SIDE rows and columns."""
    _, height, width = grey.shape
    rows, columns = max(height // PREVIEW_SIDE, 1), max(width // PREVIEW_SIDE, 1)
    grey = grey[:, : height // rows * rows, : width // columns * columns]
    grey = grey.reshape(len(grey), height // rows, rows, width // columns, columns)
    return grey.mean(axis=(2, 4))


def _gini_mean_difference(values: np.ndarray) -> float:
    """Mean |x - y| over all pairs of distinct entries of float[n], by the sorted-order formula."""
    n = len(values)
    if n < 2:
        return 0.0
    ranks = 2 * np.arange(1, n + 1) - n - 1
    return float(2.0 * (ranks * np.sort(values)).sum() / (n * (n - 1)))


def cosine_novelty(vectors: np.ndarray) -> float:
    """Mean of 1 - cosine of neighbouring rows of float[F, D]; 0 for fewer than two.

    0: all alike; vectors of unrelated pictures come near 1.
    """
    if len(vectors) < 2:
        return 0.0
    vectors = np.asarray(vectors, np.float64)
    units = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return float(1.0 - (units[1:] * units[:-1]).sum(axis=1).mean())


def pixel_novelty(count: int, query: BudgetQuery) -> float:
    """`novelty` of `count` preview frames, decoded once for a medium."""
    return measured(query.of_medium, f"novelty {count}", lambda: novelty(query.preview(count)))


# --- The policy of kind "similarity" ------------------------------------------------------------


def similarity(spec: Mapping[str, Any], tools: Tools) -> Decide:
    """How a canonical "similarity" spec decides.

    Raises ModelError where it needs a model and `tools` has none.
    """
    if spec["features"] == "pixel":
        measure = functools.partial(pixel_novelty, spec["preview_frames"])
        return functools.partial(_by_novelty, spec, measure, "")
    if tools.embed is None:
        raise ModelError(
            f"frame budget: 'features' {spec['features']!r} needs a model, and none was given: "
            "pass tools with an `embed` to make_policy"
        )
    measure = functools.partial(
        _model_novelty, spec["preview_frames"], tools.embed(spec), tools.answers()
    )
    return functools.partial(_by_novelty, spec, measure, f" ({spec['features']})")


def _by_novelty(
    spec: Mapping[str, Any],
    measure: Callable[[BudgetQuery], float],
    features: str,
    query: BudgetQuery,
) -> tuple[int, str]:
    candidates = spec["candidates"]
    if query.media.frames <= candidates[0]:
        return candidates[0], "any novelty"
    value = measure(query)
    low, high = spec["novelty_low"], spec["novelty_high"]
    level = min(max((value - low) / (high - low), 0.0), 1.0)
    frames = nearest_candidate(candidates, at_level(candidates, level))
    return frames, f"novelty {value:.2f}{features}"


def _model_novelty(count: int, embed: Embed, answers: Answers, query: BudgetQuery) -> float:
    """`cosine_novelty` of `count` previews.

    Kept by the content of the previews, so that a clip with many questions, or a second look with
    other thresholds, costs the model once.
    """
    frames = query.preview(count, embed.side)
    question = question_key("novelty", embed.identity, content_key(frames))
    known = answers.get(question)
    if known is None:
        known = repr(cosine_novelty(embed(frames)))
        answers.put(question, known)
    return float(known)
