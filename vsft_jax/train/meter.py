"""Speed, fill and waiting of the training loop, between one log line and the next."""

import contextlib
import socket
import time
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
from absl import logging
from flax import serialization
from jax.experimental import multihost_utils

from input_pipeline.batches import Batch
from input_pipeline.progress import duration
from vsft_jax.config import Run
from vsft_jax.processes import gather
from vsft_jax.train.metrics import StepMetrics
from vsft_jax.train.record.goodput import Goodput

_SLOW, _SLOW_SECONDS = 1.5, 0.05  # times the usual host's step, and so much longer

_COUNTS = ("rows", "examples", "tokens", "visual_tokens", "patches", "masked")


class Meter:
    """Sums over the steps since the last log line: loss, speed, fill, waiting, what was masked.

    A run that is killed between two lines begins again at a checkpoint between them, so `state`
    goes with the checkpoint: the lines are those of a run that was never killed.
    """

    def __init__(
        self, run: Run, state: Mapping[str, Any] | None = None, goodput: Goodput | None = None
    ):
        """state: of the meter of a run that goes on. goodput: is told of waiting."""
        self._run = run
        self._goodput = goodput or Goodput()
        self._first_log: tuple[int, float] | None = None
        self._latest: StepMetrics | None = None
        self._begin = time.monotonic()
        self._carried: Mapping[str, float]
        self._metrics: StepMetrics
        self._reset()
        if state:
            self._begin -= state["seconds"]
            self._start -= state["since_line"]["seconds"]
            self._wait = state["since_line"]["wait"]
            self._carried_steps = state["since_line"]["steps"]
            self._carried = state["since_line"]["sums"]
            # What an earlier version did not sum up stays 0.
            nothing = serialization.to_state_dict(StepMetrics.nothing())
            metrics = jax.tree.map(np.float32, state["since_line"]["metrics"])
            self._metrics = serialization.from_state_dict(
                StepMetrics.nothing(), {**nothing, **metrics}
            )

    def _reset(self) -> None:
        self._start = self._here = time.monotonic()
        self._wait = self._on_devices = 0.0
        self._steps = self._carried_steps = 0  # of this process, and of the run that it goes on
        self._sums = dict.fromkeys(_COUNTS, 0)
        self._carried = dict.fromkeys(_COUNTS, 0)
        self._metrics = StepMetrics.nothing()

    def state(self) -> dict[str, Any]:
        """What another meter goes on from, as JSON values; waits for the steps. To be called by all
        processes at the same step."""
        metrics = serialization.to_state_dict(jax.device_get(self._metrics))
        now = time.monotonic()
        return {
            "seconds": now - self._begin,
            "since_line": {
                "seconds": now - self._start,
                "wait": self._wait,
                "steps": self._steps + self._carried_steps,
                "sums": self._all_sums(),
                "metrics": jax.tree.map(float, metrics),
            },
        }

    def _all_sums(self) -> Mapping[str, float]:
        """The counts of all processes together."""
        if not self._steps:
            return self._carried
        rows = self._run.config.train.batch_rows * self._steps
        sums = _of_all_processes(self._sums, rows)
        return {name: count + self._carried[name] for name, count in sums.items()}

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Times what the devices spend waiting for a batch: nothing if they are still at the step
        before when it comes, else all of it, of which they may have worked through a part."""
        start = time.monotonic()
        yield
        if all(leaf.is_ready() for leaf in jax.tree.leaves(self._latest)):
            self._wait += time.monotonic() - start
            self._goodput.add("wait", time.monotonic() - start)

    @contextlib.contextmanager
    def on_devices(self) -> Iterator[None]:
        """Times what this host waits for its devices, and so for the slowest of all hosts."""
        start = time.monotonic()
        try:
            yield
        finally:
            self._on_devices += time.monotonic() - start

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Keeps what is not training out of the speeds."""
        start = time.monotonic()
        try:
            yield
        finally:
            self._start += time.monotonic() - start
            self._here += time.monotonic() - start

    def add(self, batch: Batch, metrics: StepMetrics) -> None:
        """Counts one step; the metrics stay on the device until they are wanted."""
        self._steps += 1
        self._latest = metrics
        self._metrics = self._metrics.merge(metrics)
        self._sums["rows"] += len(batch.example_ids)
        self._sums["examples"] += sum(map(len, batch.example_ids))
        self._sums["tokens"] += int(np.count_nonzero(batch.segment_ids))
        self._sums["visual_tokens"] += int(np.count_nonzero(batch.visual_index[..., 0] >= 0))
        self._sums["patches"] += int(np.count_nonzero(batch.patch_frames))
        self._sums["masked"] += len(batch.failures)

    def summary(self, step: int) -> dict[str, float]:
        """Scalars of the steps since the last call, which are also logged. Counts are those of all
        processes together, waiting is this one's. To be called by all of them at the same step."""
        scalars = jax.device_get(self._metrics).compute()
        seconds = time.monotonic() - self._start
        rows = self._run.config.train.batch_rows * (self._steps + self._carried_steps)
        sums = self._all_sums()
        for name in ("examples", "tokens", "visual_tokens"):
            scalars[f"{name}_per_second"] = sums[name] / seconds
        shape = self._run.row_shape
        scalars["token_fill"] = sums["tokens"] / (rows * shape.tokens)
        scalars["patch_fill"] = sums["patches"] / (rows * shape.patches)
        scalars["data_wait_fraction"] = self._wait / seconds
        scalars["examples"], scalars["masked"] = sums["examples"], sums["masked"]
        scalars["seconds"] = time.monotonic() - self._begin
        scalars |= self._goodput.scalars() | self._hosts()
        self._log(step, scalars)
        self._reset()
        return scalars

    def _hosts(self) -> dict[str, float]:
        """How long a step takes each host by itself, without the wait for its devices; logged where
        one of them is much slower, for which all others wait. Nothing of a host alone."""
        if jax.process_count() == 1 or not self._steps:
            return {}
        own = (time.monotonic() - self._here - self._on_devices) / self._steps
        found = gather([own, socket.gethostname()])
        times = np.array([seconds for seconds, _ in found])
        slowest, usual = int(times.argmax()), float(np.median(times))
        if times[slowest] > max(_SLOW * usual, usual + _SLOW_SECONDS):
            logging.warning(
                "host %s (process %d of %d) takes %.2f s a step by itself, the others %.2f s: they "
                "wait for it",
                *(found[slowest][1], slowest, len(found), times[slowest], usual),
            )
        return {
            "host_seconds_a_step": usual,
            "slowest_host_seconds_a_step": float(times[slowest]),
            "slowest_process": slowest,
        }

    def _log(self, step: int, scalars: Mapping[str, float]) -> None:
        # The first interval holds the compilation, so the remaining time comes from later ones.
        left, steps = "", self._run.config.train.steps
        if self._first_log:
            first_step, first_time = self._first_log
            rate = (time.monotonic() - first_time) / (step - first_step)
            left = f", {duration(rate * (steps - step))} left"
        else:
            self._first_log = (step, time.monotonic())
        logging.info(
            "step %d of %d: loss %.3f, answer tokens right %.0f %%, %.1f examples/s, "
            "waited for data %.0f %%%s%s%s%s",
            step,
            steps,
            scalars["loss"],
            100 * scalars["token_accuracy"],
            scalars["examples_per_second"],
            100 * scalars["data_wait_fraction"],
            f", busiest expert × {scalars['busiest_expert']:.1f}"
            if "busiest_expert" in scalars
            else "",
            f", {scalars['masked']:.0f} masked" if scalars["masked"] else "",
            f", {scalars['bad_steps']} steps without effect" if scalars["bad_steps"] else "",
            left,
        )


def _of_all_processes(sums: Mapping[str, int], rows: int) -> dict[str, float]:
    """Counts over all processes. rows: that there were; processes that a row is split among have
    all counted it."""
    if jax.process_count() == 1:
        return dict(sums)
    counts = multihost_utils.process_allgather(np.array(list(sums.values()), np.int64))
    total = dict(zip(sums, counts.sum(axis=0).tolist(), strict=True))
    return {name: count * rows / total["rows"] for name, count in total.items()}
