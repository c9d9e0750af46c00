"""What a policy did to a corpus: how many frames, and what they save."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from input_pipeline.frame_budget.spec import canonical_spec, most_frames, spec_label


def budget_summary(
    spec: Mapping[str, Any],
    budgets: Sequence[int] | np.ndarray,
    visual_tokens: Sequence[int] | np.ndarray,
    most_visual_tokens: Sequence[int] | np.ndarray,
    unusable: int = 0,
) -> dict[str, Any]:
    """Counts over the examples of a data set; JSON values only.

    budgets: int[n] frames of each example, 0 where there is no video. visual_tokens: int[n] as laid
    out; most_visual_tokens: int[n] the same at `most_frames(spec)` for every clip. unusable: how
    often a judge's answer was of no use.
    """
    frames, tokens, most = (np.asarray(x) for x in (budgets, visual_tokens, most_visual_tokens))
    clips = frames > 0
    values, counts = np.unique(frames[clips], return_counts=True)
    return {
        "frame_policy": canonical_spec(spec),
        "histogram": {str(v): int(n) for v, n in zip(values, counts, strict=True)},
        "mean_frames": float(frames[clips].mean()) if clips.any() else 0.0,
        "most_frames": most_frames(spec),
        "clip_tokens": int(tokens[clips].sum()),
        "clip_tokens_at_most": int(most[clips].sum()),
        "judge_unusable": unusable,
    }


def budget_lines(summary: Mapping[str, Any], width: int = 40) -> list[str]:
    """The summary in words and bars `width` characters long; none where there was no video."""
    histogram = summary["histogram"]
    if not histogram:
        return []
    label = spec_label(summary["frame_policy"])
    lines = [f"frame budgets ({label}), mean {summary['mean_frames']:.1f}:"]
    largest = max(histogram.values())
    for frames, count in histogram.items():
        lines.append(f"{frames:>4} frames {count:7d} {'█' * round(width * count / largest)}")
    used, most = summary["clip_tokens"], summary["clip_tokens_at_most"]
    if most:
        saved = most - used
        lines.append(
            f"{used} visual tokens in examples with video; {summary['most_frames']} frames for "
            f"every clip would take {most}: {saved} saved ({saved / most:.0%})"
        )
    if summary["judge_unusable"]:
        lines.append(
            f"{summary['judge_unusable']} answers of the judge were of no use: the fallback decided"
        )
    return lines
