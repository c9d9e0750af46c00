import logging as python_logging

from input_pipeline import progress
from input_pipeline.progress import Progress


def test_rate_and_rest_leave_the_start_up_out(monkeypatch, caplog):
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    with caplog.at_level(python_logging.INFO, logger="absl"), Progress("prepare", 1000) as work:
        now = 60.0  # processes start, a file is opened
        work.advance()
        for now in (61.0, 62.0, 70.0):
            work.reach(int(1 + 20 * (now - 60)))
    lines = caplog.messages
    assert lines[0] == "prepare: 21 of 1000 examples, 20.0/s, 49 s left"
    assert lines[1] == "prepare: 201 of 1000 examples, 20.0/s, 40 s left"
    assert lines[-1] == "prepare: finished 201 of 1000 examples in 1 min 10 s (2.9/s)"
