"""Samples as lmms-eval logs them."""

import json
import subprocess
import sys
from pathlib import Path

from evaluation.results import Prediction, write_predictions

ROOT = Path(__file__).parents[2]


def _predictions():
    def one(id, benchmark, said, answer):
        right = float(said == answer)
        return Prediction(
            *(id, benchmark, "order", "choice", 4, "4: asks about order", said, answer),
            *(right, True, 128),
            question=f"Which {id}?",
        )

    return [
        one("a", "mme", "Yes", "Yes"),
        one("b", "tomato", "C", "B"),
        one("c", "mme", "é\u2028", "No"),
    ]


def _convert(folder):
    command = [sys.executable, "-m", "evaluation.lmms_samples", str(folder)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_each_benchmark_has_its_file(tmp_path):
    write_predictions(tmp_path / "predictions.jsonl", _predictions())
    done = _convert(tmp_path)
    assert done.returncode == 0, done.stderr
    written = sorted(tmp_path.glob("samples_*.jsonl"))
    assert done.stdout.split() == [str(path) for path in written]
    assert [path.name for path in written] == ["samples_mme.jsonl", "samples_tomato.jsonl"]
    first, second = (json.loads(row) for row in written[0].read_text().split("\n")[:-1])
    assert (first["doc_id"], first["input"], first["target"]) == (0, "Which a?", "Yes")
    assert first["filtered_resps"] == ["Yes"] and first["resps"] == [["Yes"]]
    assert first["score"] == 1.0 and first["frames"] == 4 and len(first["doc_hash"]) == 64
    assert second["doc_id"] == 1 and second["filtered_resps"] == ["é\u2028"] and not second["score"]
    assert second["doc_hash"] != first["doc_hash"]


def test_a_folder_without_answers_is_named(tmp_path):
    done = _convert(tmp_path)
    assert done.returncode and f"error: {tmp_path}/predictions.jsonl: no such" in done.stderr
