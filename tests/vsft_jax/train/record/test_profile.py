"""Which steps are traced: those of the config, and those that a signal asks for."""

import os
import signal

import jax
import pytest

from vsft_jax.train.record.profile import SIGNAL, Profile


@pytest.fixture
def traces(monkeypatch):
    """What was called, in order."""
    calls = []
    monkeypatch.setattr(jax.profiler, "start_trace", calls.append)
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: calls.append("stop"))
    return calls


def test_a_configs_steps_and_then_those_of_a_signal(traces, tmp_path):
    before = signal.getsignal(SIGNAL)
    with Profile(tmp_path, first=2, steps=2) as profile:
        seen = []
        for step in range(1, 9):
            if step == 6:
                os.kill(os.getpid(), SIGNAL)
            profile.reached(step)
            seen.append(len(traces))
        assert seen == [0, 1, 1, 2, 2, 3, 3, 4]
    assert traces == [str(tmp_path / "xprof"), "stop"] * 2
    assert signal.getsignal(SIGNAL) == before


def test_a_trace_ends_with_the_run(traces, tmp_path):
    with pytest.raises(SystemExit), Profile(tmp_path, first=1, steps=5) as profile:
        profile.reached(1)
        raise SystemExit(143)
    assert traces[-1] == "stop"
    with Profile(tmp_path, first=0, steps=5) as profile:
        profile.reached(1)
    assert len(traces) == 2
