import io
import logging as python_logging
import os
import pty
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from rich.console import Console

from input_pipeline import progress
from input_pipeline.progress import Progress, duration


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


def _work(monkeypatch, work, times):
    """One more item is finished at each time, in seconds after 0."""
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    with work:
        for clock[0] in times:
            work.advance()


def test_work_that_goes_on_counts_what_was_done_before_and_not_its_time(monkeypatch, caplog):
    with caplog.at_level(python_logging.INFO, logger="absl"):
        _work(monkeypatch, Progress("train", 100, unit="steps", done=40), (60, 100, 140))
    assert caplog.messages == [
        "train: 42 of 100 steps, 40 s each, 38 min 40 s left",
        "train: 43 of 100 steps, 40 s each, 38 min 00 s left",
        "train: finished 43 of 100 steps in 2 min 20 s (47 s each)",
    ]


def test_what_ends_together_with_the_first_is_no_rate(monkeypatch, caplog):
    # Batches of four answers; the first waited for a compilation.
    times = [at + place / 1000 for at in (60, 70, 80) for place in range(4)]
    with caplog.at_level(python_logging.INFO, logger="absl"):
        _work(monkeypatch, Progress("evaluate", 16, unit="questions"), times)
    assert caplog.messages == [
        "evaluate: 5 of 16 questions, 0.1/s, 1 min 50 s left",
        "evaluate: 9 of 16 questions, 0.3/s, 28 s left",
        "evaluate: finished 12 of 16 questions in 1 min 20 s (0.1/s)",
    ]


def test_work_that_logs_by_itself_has_a_bar_and_no_lines(monkeypatch, caplog, screen):
    with caplog.at_level(python_logging.INFO, logger="absl"):
        _work(monkeypatch, Progress("train", 3, lines=False), (10, 20, 30))
        assert "3 of 3 examples, 0.1/s" in screen.getvalue()
        monkeypatch.setattr(progress, "_terminal", lambda: None)
        _work(monkeypatch, Progress("train", 3, lines=False), (10, 20))
    assert not caplog.messages


def test_without_a_terminal_rich_is_not_imported():
    code = """if True:
        import sys
        from input_pipeline.progress import Progress
        with Progress("a", 2) as work:
            work.advance()
        sys.exit("rich" in sys.modules)
    """
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, stderr=subprocess.PIPE)
    assert done.returncode == 0


@pytest.fixture
def screen(monkeypatch):
    """What a terminal is sent."""
    sent = io.StringIO()
    console = Console(file=sent, force_terminal=True, width=100, _environ={})
    monkeypatch.setattr(progress, "_terminal", lambda: console)
    return sent


def test_a_terminal_shows_a_bar_with_rate_and_rest(screen, monkeypatch, caplog):
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    with caplog.at_level(python_logging.INFO, logger="absl"), Progress("prepare", 1000) as work:
        now = 60.0
        work.advance()
        now = 61.0
        work.reach(21)
        assert caplog.messages == []
    assert "prepare" in screen.getvalue() and "━" in screen.getvalue()
    assert "21 of 1000 examples, 20.0/s, 49 s left" in screen.getvalue()
    assert caplog.messages == ["prepare: finished 21 of 1000 examples in 1 min 01 s (0.3/s)"]


def test_bars_within_and_beside_others_leave_the_terminal_as_it_was(screen):
    before = sys.stderr
    together = threading.Barrier(3)

    def work(name):
        with Progress(name, 3) as outer:
            outer.advance()
            with Progress(f"{name} within", 2) as inner:
                inner.advance()
                together.wait(10)
                time.sleep(0.3)  # a few movements
                together.wait(10)
            outer.advance()

    threads = [threading.Thread(target=work, args=(name,)) for name in ("one", "two", "three")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    shown = screen.getvalue()
    for name in ("one", "two", "three"):
        assert f"{name} within" in shown
    assert sys.stderr is before
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h") == 1  # cursor hidden, shown again
    with pytest.raises(KeyError), Progress("again", 1):
        raise KeyError
    assert sys.stderr is before and "again" in screen.getvalue()
    assert screen.getvalue().endswith("\x1b[2K")  # the bar is wiped off


_JOB = """
import sys, time
from absl import app, logging
from input_pipeline.progress import Progress

def main(_):
    logging.set_verbosity(logging.INFO)
    with Progress("demo", 100) as work:
        work.advance(10)
        time.sleep(0.3)
        logging.info("a line %d", 1)
        print("printed")
        work.advance(10)
        time.sleep(0.3)
    logging.info("after it")

app.run(main)
"""


def test_log_lines_of_a_job_stand_above_the_bar_and_its_output_goes_where_it_should():
    parent, child = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    command = [sys.executable, "-c", _JOB]
    root = Path(__file__).parents[2]
    job = subprocess.Popen(
        command, cwd=root, stderr=child, stdout=subprocess.PIPE, env=environment, text=True
    )
    os.close(child)
    sent = b""
    while True:
        try:
            data = os.read(parent, 65536)
        except OSError:  # the other end is closed
            break
        if not data:
            break
        sent += data
    assert job.wait(30) == 0
    os.close(parent)
    assert job.stdout.read() == "printed\n"  # not onto the terminal with the bar
    job.stdout.close()
    text = sent.decode()
    lines = text.splitlines()
    (line,) = [line for line in lines if "a line 1" in line]
    # The bar's line is wiped before the log line takes its place, and drawn again below it.
    assert line.rindex("\x1b[2K") < line.index("I") and "━" not in line
    assert "demo" in text[text.index("a line 1") :]
    assert [line for line in lines if line.endswith("after it")]
    assert any("demo: finished 20 of 100 examples" in line for line in lines)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.44, "0.4 s"), (42.4, "42 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")],
)
def test_durations(seconds, expected):
    assert duration(seconds) == expected
