"""The vocabulary of reasons covers what is raised, and every reason passes or lasts."""

import ast
import pickle
from pathlib import Path

import pytest

import input_pipeline.media
from input_pipeline.media import LASTING, PASSING, MediaError
from input_pipeline.media.errors import REASONS

MEDIA = Path(input_pipeline.media.__file__).parent


def raised_reasons():
    """{reason: files} of all `MediaError(path, reason, detail)` calls whose reason is written
    there, also where it is one of two."""
    found = {}
    for path in MEDIA.rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("MediaError"):
                for node in ast.walk(call.args[1]):
                    if isinstance(node, ast.Constant) and isinstance(node.value, str):
                        found.setdefault(node.value, set()).add(path.name)
    return found


def test_every_reason_that_is_raised_is_in_the_table_and_no_other():
    assert set(raised_reasons()) == set(REASONS)


def test_every_reason_passes_or_lasts():
    assert set(REASONS) == PASSING | LASTING and not PASSING & LASTING
    assert {"missing", "timeout"} <= PASSING
    assert {"corrupt", "not_a_file", "bad_record"} <= LASTING
    assert all(reason.meaning for reason in REASONS.values())


def test_an_unknown_reason_is_refused():
    with pytest.raises(ValueError, match="'rotten' of /a.mp4"):
        MediaError("/a.mp4", "rotten", "smells")


def test_it_survives_pickling():
    error = MediaError("/data/a.mp4", "truncated", "40 of 96 frames")
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.path, copy.reason, copy.detail) == (error.path, error.reason, error.detail)
    assert str(copy) == "/data/a.mp4: truncated: 40 of 96 frames"
