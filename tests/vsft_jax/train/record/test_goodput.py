"""Where the time of a training went, over kills and restarts."""

import json

import pytest

from vsft_jax.train.record import goodput
from vsft_jax.train.record.goodput import CAUSES, SCALARS, Goodput, lost_seconds


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(goodput.time, "monotonic", lambda: now[0])

    def passes(seconds):
        now[0] += seconds

    return passes


def test_time_is_steps_or_has_a_cause(clock):
    found = Goodput()
    for cause, seconds in (("prepare", 10), ("compile", 30), ("evaluate", 5)):
        with found.spent(cause):
            clock(seconds)
    clock(55)  # steps
    found.add("wait", 5)
    scalars = found.scalars()
    assert scalars.keys() == set(SCALARS) and scalars["goodput"] == pytest.approx(0.5)
    assert [scalars[f"time/{c}"] for c in CAUSES] == [10, 0, 30, 5, 0, 5, 0]
    assert found.line() == (
        "goodput 50 % of 1 min 40 s; compile 30 %, prepare 10 %, wait 5 %, evaluate 5 %"
    )


def test_a_run_that_goes_on_counts_what_was_before_and_what_was_lost(clock):
    first = Goodput()
    with first.spent("compile"):
        clock(20)
    clock(60)
    saved = json.loads(json.dumps(first.state()))
    clock(40)  # which no checkpoint has
    second = Goodput()
    with second.spent("restore"):
        clock(10)
    second.go_on(saved, lost=40.0)
    clock(30)
    scalars = second.scalars()
    assert second.seconds == pytest.approx(20 + 60 + 40 + 10 + 30)
    assert [scalars[f"time/{c}"] for c in ("compile", "restore", "lost")] == [20, 10, 40]
    assert scalars["goodput"] == pytest.approx(90 / 160)


def test_lost_is_what_the_record_has_after_the_checkpoint(tmp_path):
    record = tmp_path / "train.jsonl"
    rows = [{"step": 2, "seconds": 8.0}, {"step": 4, "seconds": 16.5}, {"step": 4, "eval/x": 1.0}]
    record.write_text("".join(f"{json.dumps(row)}\n" for row in rows) + '{"step": 6, "sec')
    assert lost_seconds(record, 2, at=9.0) == 7.5
    assert lost_seconds(record, 4, at=17.0) == lost_seconds(tmp_path / "none", 0, at=0.0) == 0
