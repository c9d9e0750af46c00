"""What a run writes while it trains: log lines, train.jsonl and TensorBoard files."""

import json
from collections.abc import Mapping
from pathlib import Path

import flax
import jax
import jax.numpy as jnp
from absl import logging
from clu import metrics as clu_metrics
from tensorboardX import SummaryWriter

from input_pipeline.files import write_atomically
from vsft_jax.processes import is_first
from vsft_jax.train.loss import LossSums


@flax.struct.dataclass
class StepMetrics:
    """Sums over a step that merge exactly over steps: loss and accuracy for each answer token."""

    loss: clu_metrics.Average
    token_accuracy: clu_metrics.Average
    grad_norm: clu_metrics.Average  # before clipping

    @classmethod
    def from_sums(cls, sums: LossSums, grad_norm: jax.Array) -> "StepMetrics":
        """sums: over all answer tokens of a step. grad_norm: float32[]."""
        return cls(
            loss=clu_metrics.Average(total=sums.loss, count=sums.weight),
            token_accuracy=clu_metrics.Average(total=sums.correct, count=sums.weight),
            grad_norm=clu_metrics.Average(total=grad_norm, count=jnp.ones(())),
        )

    def merge(self, other: "StepMetrics") -> "StepMetrics":
        """The metrics of both steps' tokens together."""
        return jax.tree.map(jnp.add, self, other)

    def compute(self) -> dict[str, float]:
        """Host values by name."""
        fields = ("loss", "token_accuracy", "grad_norm")
        return {name: float(getattr(self, name).compute()) for name in fields}


class MetricWriter:
    """Writes scalars to the log, to `train.jsonl` and to TensorBoard.

    The JSONL is the record that reports read. On resume the lines after the restored step are
    dropped, so that every step stands in it once. Process 0 writes; the others only log.
    """

    def __init__(self, workdir: str | Path, *, resume_step: int = 0):
        self._file = self._board = None
        if not is_first():
            return
        workdir = Path(workdir)
        self._path = workdir / "train.jsonl"
        kept = []
        if self._path.exists():
            kept = [row for row in read_jsonl(self._path) if row["step"] <= resume_step]
        write_atomically(self._path, "".join(json.dumps(row) + "\n" for row in kept))
        self._file = self._path.open("a", buffering=1)
        self._board = SummaryWriter(
            str(workdir / "tensorboard"), purge_step=resume_step + 1 if resume_step else None
        )

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Records the scalars of one step."""
        if self._file is None or self._board is None:
            return
        self._file.write(json.dumps({"step": step, **scalars}) + "\n")
        for name, value in scalars.items():
            self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Flushes and closes the files."""
        if self._file is None or self._board is None:
            return
        self._file.close()
        self._board.close()


def read_jsonl(path: str | Path) -> list[dict]:
    """Rows of a JSON-lines file; a last line cut off by a kill is left out, with a warning."""
    rows = []
    lines = Path(path).read_text().splitlines()
    for number, line in enumerate(lines, 1):
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            if number < len(lines):
                raise ValueError(f"{path}, line {number}: not JSON") from None
            logging.warning("%s: last line is incomplete and was left out", path)
    return rows
