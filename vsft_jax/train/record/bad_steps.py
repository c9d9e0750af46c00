"""Steps that do not count, since their loss is no number or a spike: their examples are named, and
too many in a row end a run."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
from absl import logging

from input_pipeline.errors import UserError
from input_pipeline.examples import Example
from input_pipeline.files import append
from vsft_jax.config import Run
from vsft_jax.parameters import not_finite
from vsft_jax.train.metrics import StepMetrics

_SPIKE = "the loss was above config.train.skip_loss_above × its median of late"
_NAMED = 5  # examples of a bad step in its log line; the file has them all


class Diverged(UserError):
    """The loss is no number any more, or far above what it was; the newest checkpoint is from
    before."""


class BadSteps:
    """Watches the steps of a run. A bad step has changed nothing (see `Trainer.step`), so the run
    goes on, until there are `config.train.max_bad_steps` in a row, or half of a shorter run.

    in_a_row: bad steps up to the last that was added.
    """

    def __init__(self, run: Run, path: Path, examples: Callable[[int], Sequence[Example]]):
        """path: of the file that names their examples. examples: of a step, in this process."""
        train = run.config.train
        self.path, self.in_a_row = path, 0
        self._most = min(train.max_bad_steps, max(1, train.steps // 2))
        self._examples = examples
        self._told = False  # that the file cannot be written

    def add(self, step: int, metrics: StepMetrics) -> None:
        """Counts a step, when it is finished.

        Raises Diverged for the last bad one that a run may have.
        """
        bad, spike = jax.device_get((metrics.bad, metrics.spikes))
        if not bad:
            self.in_a_row = 0
            return
        self.in_a_row += 1
        why = _SPIKE if spike else "the loss or the gradient was not finite"
        self._name(step, why)
        if self.in_a_row >= self._most:
            raise Diverged(
                f"{why} in {self.in_a_row} steps in a row, to "
                f"step {step} (config.train.max_bad_steps): {self.path} names their examples.\n"
                "If it is not they, lower config.optimizer.learning_rate; the checkpoints are from "
                "before"
            )

    def _name(self, step: int, why: str) -> None:
        examples = [
            {"source": each.source, "id": each.id, "media": [ref.path for ref in each.media]}
            for each in self._examples(step)
        ]
        named = ", ".join(str(each["id"]) for each in examples[:_NAMED])
        logging.warning(
            "step %d changed nothing, since %s; %d examples, %s%s: see %s",
            *(step, why, len(examples), named, ", …" if len(examples) > _NAMED else "", self.path),
        )
        if not self._told:
            self._append({"step": step, "why": why, "examples": examples})

    def _append(self, row: dict[str, Any]) -> None:
        """Adds a row to the file. One that does not fit ends nothing: the log has named it."""
        try:
            file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            try:
                append(file, (json.dumps(row) + "\n").encode())
            finally:
                os.close(file)
        except OSError as error:
            self._told = True
            logging.warning(
                "%s cannot be written: %s. Bad steps are named in this log alone from here on",
                *(self.path, error.strerror or error),
            )


def check_finite(params: object, step: int) -> None:
    """Raises Diverged where a parameter is not finite: such a model is not saved."""
    if bad := not_finite(params):
        raise Diverged(
            f"after step {step}, which is not saved, {bad}: lower "
            "config.optimizer.learning_rate; the checkpoints are from before"
        )
