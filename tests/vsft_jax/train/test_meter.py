"""What counts as waiting for data."""

import time

import jax
import pytest

from configs import tiny
from vsft_jax.train.meter import Meter


class Output:
    """Of a step: ready or not."""

    def __init__(self, ready):
        self._ready = ready

    def is_ready(self):
        return self._ready


@pytest.mark.parametrize(("ready", "waited"), [(True, 0.02), (False, 0.0)])
def test_only_idle_devices_wait(ready, waited):
    meter = Meter(tiny.get_config())
    meter._latest = Output(ready)
    with meter.waiting():
        time.sleep(0.02)
    assert waited <= meter._wait < waited + 1.0
    assert (meter._wait > 0) == ready


def test_the_first_batch_is_waited_for():
    meter = Meter(tiny.get_config())
    with meter.waiting():
        time.sleep(0.01)
    assert meter._wait >= 0.01


def test_a_slow_host_is_named(monkeypatch, caplog):
    """Its devices are waited for, so it waits for none itself."""
    meter = Meter(tiny.get_config())
    meter._steps, meter._here = 4, time.monotonic() - 8.0
    with meter.on_devices():
        time.sleep(0.01)
    told = []

    def gather(own):
        told.append(own)
        return [own, [0.4, "node-1"], [0.41, "node-2"]]

    monkeypatch.setattr(jax, "process_count", lambda: 3)
    monkeypatch.setattr("vsft_jax.train.meter.gather", gather)
    found = meter._hosts()
    assert told[0][0] == pytest.approx(2.0, abs=0.1) and found["slowest_process"] == 0
    assert found["host_seconds_a_step"] == 0.41
    (line,) = caplog.messages
    assert f"host {told[0][1]} (process 0 of 3) takes 2.00 s a step by itself" in line
