"""What a person wants to know about a prepared data set."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from input_pipeline import frame_budget
from input_pipeline.files import checksum, write_atomically
from input_pipeline.index.quarantine import quarantine_of
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


def write_summary(index: Path, summary: Mapping[str, Any]) -> None:
    """Keeps the summary of an index, which is finished with it, and checksums of its files."""
    write_atomically(_summary_of(index), json.dumps(summary, indent=1, ensure_ascii=False))
    files = (index, quarantine_of(index), _summary_of(index))
    write_atomically(
        _checksums_of(index), json.dumps({path.name: checksum(path) for path in files})
    )


def read_summary(index: Path, *, verify: bool) -> dict[str, Any] | None:
    """The summary of an index that is there and whole. None where it is not, which is logged if it
    was damaged: it has to be made again. verify: compare its files with their checksums."""
    path = _summary_of(index)
    if not (path.exists() and index.exists()):
        return None
    try:
        if verify:
            _check(index)
        summary = json.loads(path.read_text(encoding="utf-8"))
        if len(ExampleStore.open(index)) != summary["kept"]:
            raise ValueError(f"{index.name} has not {summary['kept']} rows")
        return summary
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        logging.warning("%s is damaged, so it is made again: %s", index, error)
        return None


def _check(index: Path) -> None:
    """Raises an error that says what is wrong with the files of an index."""
    if not _checksums_of(index).exists():  # of an earlier version
        return
    for name, written in json.loads(_checksums_of(index).read_text()).items():
        if list(checksum(index.with_name(name))) != written:
            raise ValueError(f"{name} does not hold the bytes that were written")


def _summary_of(index: Path) -> Path:
    return index.with_suffix(".summary.json")


def _checksums_of(index: Path) -> Path:
    return index.with_suffix(".crc32.json")
