"""Log lines: whose are shown, and how."""

import io
import logging as standard_logging

import pytest
from absl import logging

from front import console


def _record(level, path):
    return standard_logging.LogRecord("absl", level, path, 1, "said %d", (3,), None)


@pytest.mark.parametrize(
    "level, path, told",
    [
        (standard_logging.INFO, "/repo/vsft_jax/train/loop.py", True),
        (standard_logging.INFO, "/v/lib/python3.11/site-packages/orbax/save.py", False),
        (standard_logging.WARNING, "/v/lib/python3.11/site-packages/orbax/save.py", True),
        (standard_logging.WARNING, "/repo/input_pipeline/index/prepare.py", True),
    ],
)
def test_libraries_are_heard_when_they_warn(level, path, told):
    console.prepare_console()
    filters = logging.get_absl_handler().filters
    assert all(each(_record(level, path)) for each in filters) == told


def test_what_is_said_once_is_not_repeated():
    console.prepare_console()
    filters = logging.get_absl_handler().filters
    marked = [_record(standard_logging.WARNING, "/repo/a.py") for _ in range(3)]
    for record in marked[:2]:
        record.once = True

    def told(record):
        return all(each(record) for each in filters)

    assert [told(record) for record in marked] == [True, False, True]
    console.prepare_console()  # another job of the process
    assert told(marked[0])


def test_a_terminal_gets_time_and_text(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr("sys.stderr", Terminal())
    handler = logging.get_absl_handler().python_handler
    before = handler.formatter
    try:
        console.prepare_console()
        line = handler.format(_record(standard_logging.INFO, "a.py"))
        warned = handler.format(_record(standard_logging.WARNING, "a.py"))
    finally:
        handler.setFormatter(before)
    assert line[2] == line[5] == ":" and line[8:] == " said 3"
    assert warned[8:] == " warning: said 3"
