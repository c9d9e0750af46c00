"""Answers of an evaluation as lmms-eval logs them, for programs that read its samples.

    python -m evaluation.lmms_samples runs/mine/eval/hybrid

writes samples_<benchmark>.jsonl beside predictions.jsonl. The fields are those that lmms-eval's
`EvaluationTracker.save_results_samples` leaves (2026-08): doc_id, input, target, resps,
filtered_resps, doc_hash, and metrics by name; `score` is this repository's own scoring. What
lmms-eval does not have (frames, the budget's reason) stands in fields of its own.
"""

import hashlib
import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from evaluation.results import PREDICTIONS_FILE, Prediction, read_predictions
from input_pipeline.errors import UserError
from input_pipeline.files import write_atomically


def write_samples(folder: str | Path) -> list[Path]:
    """Writes a file for each benchmark of an evaluation's folder, and returns them.

    Raises ResultError where the folder has no predictions, or some that cannot be read.
    """
    by_benchmark: dict[str, list[Prediction]] = defaultdict(list)
    for prediction in read_predictions(Path(folder) / PREDICTIONS_FILE):
        by_benchmark[prediction.benchmark].append(prediction)
    written = []
    for benchmark, predictions in by_benchmark.items():
        rows = (json.dumps(_sample(i, p), ensure_ascii=False) for i, p in enumerate(predictions))
        path = Path(folder) / f"samples_{benchmark}.jsonl"
        write_atomically(path, "".join(row + "\n" for row in rows))
        written.append(path)
    return written


def _sample(place: int, prediction: Prediction) -> dict[str, Any]:
    """doc_id: the place among the answers; lmms-eval counts in the data set's order."""
    asked = json.dumps([prediction.id, prediction.question], ensure_ascii=False)
    return {
        "doc_id": place,
        "input": prediction.question,
        "target": prediction.answer,
        "resps": [[prediction.prediction]],
        "filtered_resps": [prediction.prediction],
        "doc_hash": hashlib.sha256(asked.encode()).hexdigest(),
        "score": prediction.score,
        "id": prediction.id,
        "task": prediction.task,
        "parsed": prediction.parsed,
        "frames": prediction.frames,
        "frame_budget": prediction.why,
    }


if __name__ == "__main__":
    try:
        for each in sys.argv[1:] or ["."]:
            print(*write_samples(each), sep="\n")
    except UserError as error:
        sys.exit(f"error: {error}")
