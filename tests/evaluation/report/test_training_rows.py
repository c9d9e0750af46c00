"""Rows of train.jsonl as the report reads them."""

import json

import pytest

from evaluation.records import ResultError
from evaluation.report.figures.training import losses
from evaluation.report.read_study import Model
from evaluation.report.read_study.files import read_training


def test_a_steps_training_and_its_evaluation_are_one_row_and_what_was_written_last_counts(tmp_path):
    rows = [
        {"step": 1, "loss": 3.0},
        {"step": 2, "loss": None, "bad_steps": 1},
        {"step": 2, "eval/images": 0.5},
        {"step": 3, "loss": 1.5},
        {"step": 3, "loss": 1.25},
        {"step": 4, "eval/images": 0.75},
    ]
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 5, "lo')
    found = read_training(path)
    assert found == (
        {"step": 1, "loss": 3.0},
        {"step": 2, "loss": None, "bad_steps": 1, "eval/images": 0.5},
        {"step": 3, "loss": 1.25},
        {"step": 4, "eval/images": 0.75},
    )
    assert losses(Model(None, None, found, {})) == [(1, 3.0), (3, 1.25)]


def test_a_line_that_is_no_text_is_named(tmp_path):
    path = tmp_path / "train.jsonl"
    path.write_bytes(b'{"step": 1, "loss": 3.0}\n\xe5\xff\n{"step": 2, "loss": 2.0}\n')
    with pytest.raises(ResultError, match="train.jsonl, line 2: not a training record"):
        read_training(path)
