"""What a person wants to know about a prepared data set."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from absl import logging

from input_pipeline import frame_budget
from input_pipeline.index.store import ExampleStore


def summarise(
    name: str,
    mode: str,
    frame_policy: Mapping[str, Any],
    store: ExampleStore,
    rejected: dict[str, int],
    notes: Sequence[str],
) -> dict[str, Any]:
    """Counts, budgets and an example of each budget; JSON values only.

    frame_policy: the frame-budget spec. rejected: what was left out, by reason. notes: what stood
    out in the annotations.
    """
    values = np.unique(store.budgets[store.budgets > 0])
    firsts = {int(value): int(np.argmax(store.budgets == value)) for value in values}
    return {
        "dataset": name,
        "mode": mode,
        "examples": len(store) + sum(rejected.values()),
        "kept": len(store),
        "quarantined": {reason: n for reason, n in rejected.items() if reason != "too_long"},
        "left_out": rejected.get("too_long", 0),  # does not fit into a row even when shrunk
        "shrunk": store.shrunk_counts(),
        "notes": list(notes),
        "tokens": int(store.tokens.sum()),
        "visual_tokens": int(store.visual_tokens.sum()),
        **frame_budget.budget_summary(
            frame_policy,
            store.budgets,
            store.visual_tokens,
            store.most_visual_tokens,
            store.count_why(frame_budget.UNUSABLE),
        ),
        "budget_examples": [
            {
                "id": store[i][0].id,
                "instruction": store[i][0].instruction,
                "frames": budget,
                "why": store.why(i),
            }
            for budget, i in firsts.items()
        ],
    }


def log_summary(summary: Mapping[str, Any]) -> None:
    """Prints one prepared data set: counts, what was dropped, budgets with their reasons."""
    logging.info(
        "%s (%s): %d of %d examples, %d tokens of which %d visual; shrunk %s, too long %d, "
        "quarantined %s",
        summary["dataset"],
        summary["mode"],
        summary["kept"],
        summary["examples"],
        summary["tokens"],
        summary["visual_tokens"],
        summary["shrunk"] or "none",
        summary["left_out"],
        summary["quarantined"] or "none",
    )
    for line in frame_budget.budget_lines(summary):
        logging.info("  %s", line)
    for example in summary["budget_examples"]:
        logging.info("  %r → %s", example["instruction"].splitlines()[0][:90], example["why"])
