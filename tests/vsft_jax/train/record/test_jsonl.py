"""The record of a run: whole, valid JSON, and loud where it cannot be written."""

import contextlib
import errno
import json
import math
import os

import pytest

from tests.conftest import no_file_larger_than
from vsft_jax.train.record import Record, RecordError, is_evaluated, read_jsonl


def _strict(path):
    """Rows by a parser that takes no NaN."""

    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    return [json.loads(line, parse_constant=refuse) for line in path.read_text().splitlines()]


def test_what_is_not_finite_is_null(tmp_path):
    with contextlib.closing(Record(tmp_path)) as record:
        record.write(1, {"loss": math.nan, "grad_norm": math.inf, "examples": 3, "x": 0.25})
    (row,) = _strict(tmp_path / "train.jsonl")
    assert row == {"step": 1, "loss": None, "grad_norm": None, "examples": 3, "x": 0.25}


def test_going_on_keeps_the_rows_up_to_its_step(tmp_path, caplog):
    path = tmp_path / "train.jsonl"
    path.write_text(
        '{"step": 1, "loss": NaN}\n'  # of an earlier version
        '{"step": 2, "lo\n'  # damaged
        "\xff\n"
        '{"loss": 1.0}\n'
        '{"step": 2, "loss": 2.0}\n{"step": 3, "loss": 1.5}\n{"step": 4',
        encoding="latin-1",
    )
    with contextlib.closing(Record(tmp_path, resume_step=2)) as record:
        record.write(3, {"loss": 1.25})
    assert not is_evaluated(tmp_path, 3)
    rows = [{"step": 1, "loss": None}, {"step": 2, "loss": 2.0}, {"step": 3, "loss": 1.25}]
    assert _strict(path) == read_jsonl(path) == rows
    said = [message.split("line ")[1] for message in caplog.messages]
    assert [line.split(" and")[0] for line in said] == [
        *(f"{number} is not a row" for number in (2, 3, 4)),
        "7 is incomplete",
    ]


def test_a_row_that_cannot_be_written_is_an_error_that_says_what_to_do(tmp_path):
    with contextlib.closing(Record(tmp_path)) as record:
        record.write(1, {"loss": 1.0})
        with no_file_larger_than(40), pytest.raises(RecordError) as error:
            record.write(2, {"loss": 2.0})
        assert f"{tmp_path}/train.jsonl cannot be written: File too large" in str(error.value)
        assert len(str(error.value).splitlines()) == 1
    # What is there of the second row is not a row, and the run can go on.
    assert len(read_jsonl(tmp_path / "train.jsonl")) == 1
    with contextlib.closing(Record(tmp_path, resume_step=5)) as record:
        record.write(6, {"loss": 3.0})
    assert [row["step"] for row in _strict(tmp_path / "train.jsonl")] == [1, 6]


def test_a_full_disk_is_an_error(tmp_path):
    with contextlib.closing(Record(tmp_path)) as record:
        os.close(record._file)
        record._file = os.open("/dev/full", os.O_WRONLY)
        with pytest.raises(RecordError, match=os.strerror(errno.ENOSPC)):
            record.write(1, {"loss": 1.0})


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordError, match="file/train.jsonl cannot be written"):
        Record(tmp_path / "file")
