"""What counts as waiting for data."""

import time

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
