"""Trackers show what they can and never hold a run up."""

import threading
import time

import pytest

from vsft_jax.train.record import Trackers, trackers


class Kept:
    """A tracker that keeps what it is given. broken_at: the step that it fails at."""

    def __init__(self, broken_at=None, wait=None):
        self.rows, self.closed, self.threads = [], False, set()
        self._broken_at, self._wait = broken_at, wait

    def log(self, step, scalars):
        self.threads.add(threading.current_thread())
        if self._wait:
            self._wait.wait()
        if step == self._broken_at:
            raise OSError(28, "No space left on device")
        self.rows.append((step, dict(scalars)))

    def close(self):
        self.closed = True


def test_every_tracker_gets_every_row_in_a_thread_of_its_own():
    one, two = Kept(), Kept()
    both = Trackers({"one": lambda: one, "two": lambda: two})
    for step in range(1, 50):
        both.log(step, {"loss": step / 2, "bad": float("nan"), "none": None})
    both.close()
    assert one.rows == two.rows == [(step, {"loss": step / 2}) for step in range(1, 50)]
    assert one.closed and two.closed
    assert len(one.threads | two.threads) == 2
    assert threading.current_thread() not in one.threads | two.threads


def test_one_that_fails_says_so_once_and_the_others_go_on(caplog):
    def no_server():
        raise SystemExit("no server\nat all")

    good = Kept()
    makers = {"disk": lambda: Kept(broken_at=2), "server": no_server, "good": lambda: good}
    some = Trackers(makers)
    for step in range(1, 2 * trackers.QUEUE_ROWS):
        some.log(step, {"loss": 1.0})
        if step % 100 == 0:
            time.sleep(0.01)  # so that the good one keeps up
    some.close()
    assert len(good.rows) == 2 * trackers.QUEUE_ROWS - 1
    said = sorted(message.split(";")[0] for message in caplog.messages)
    assert said == [
        "disk stopped: OSError: [Errno 28] No space left on device",
        "server stopped: SystemExit: no server",
    ]


def test_one_that_hangs_costs_nothing_but_its_rows(monkeypatch, caplog):
    monkeypatch.setattr(trackers, "CLOSE_SECONDS", 0.2)
    never = threading.Event()
    slow = Kept(wait=never)
    hung = Trackers({"slow": lambda: slow})
    start = time.monotonic()
    for step in range(trackers.QUEUE_ROWS + 100):
        hung.log(step, {"loss": 1.0})
    hung.close()
    assert time.monotonic() - start < 5
    assert [message.split(":")[0] for message in caplog.messages] == [
        "slow does not keep up",
        "slow did not end in time and was left behind",
    ]
    never.set()


@pytest.mark.parametrize("rows", [0, 3])
def test_what_was_logged_before_it_was_ready_is_not_lost(rows):
    kept, ready = Kept(), threading.Event()

    def make():
        ready.wait()
        return kept

    late = Trackers({"late": make})
    for step in range(rows):
        late.log(step, {"loss": 1.0})
    threading.Timer(0.3, ready.set).start()
    late.close()
    assert len(kept.rows) == rows and kept.closed
