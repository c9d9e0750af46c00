"""The files of a study beside its results: cells/<name>/cell.json and index_summary.json."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evaluation.records import ResultError, from_record, read_object
from input_pipeline.files import write_atomically

CELL_FILE = "cell.json"
INDEX_SUMMARY_FILE = "index_summary.json"
DIAGNOSTICS_FILE = "diagnostics.json"  # of evaluation/diagnostics/measure.py


@dataclasses.dataclass(frozen=True)
class Cell:
    """One model of a study: the content of cell.json.

    role: "base" or "sft". start: the cell that it is fine-tuned from; of a base "scratch",
    or "released" where it is a published model as it is.
    strategy: what of the model is tuned, in words. frame_policy: the resolved spec that it is
    trained and evaluated with; None for a base, which is evaluated under every policy. config: what
    of its config decides its scores, and config_hash what decides the model: see `cell_config`.
    """

    name: str
    role: str
    start: str
    strategy: str
    seed: int
    frame_policy: Mapping[str, Any] | None
    config: Mapping[str, Any]
    config_hash: str

    def save(self, folder: str | Path) -> None:
        """Writes cell.json into the cell's folder."""
        _write(Path(folder) / CELL_FILE, self)

    @classmethod
    def from_record(cls, record: Mapping[str, Any], where: str | Path) -> "Cell":
        """What `save` wrote. Raises ResultError naming the file and what is wrong in it."""
        cell = from_record(cls, record, str(where))
        if cell.role not in ("base", "sft"):
            raise ResultError(f"{where}: role {cell.role!r} is not base or sft")
        if cell.role == "sft" and cell.frame_policy is None:
            raise ResultError(f"{where}: role sft needs a frame_policy")
        return cell


@dataclasses.dataclass(frozen=True)
class Budget:
    """What a frame policy spends on the training videos of a study.

    frame_policy: the resolved spec. histogram: {frames: videos}. visual_tokens: of all videos.
    examples: an example of each budget: id, instruction, frames, why.
    """

    frame_policy: Mapping[str, Any]
    histogram: Mapping[str, int]
    visual_tokens: int
    examples: Sequence[Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class IndexSummary:
    """What became of a study's training data: the content of index_summary.json.

    datasets: counts by data set, as `input_pipeline.index` makes them. budgets: one a policy.
    """

    datasets: Mapping[str, Mapping[str, Any]]
    budgets: Sequence[Budget]

    def save(self, workdir: str | Path) -> None:
        """Writes index_summary.json into the study's folder."""
        _write(Path(workdir) / INDEX_SUMMARY_FILE, self)

    @classmethod
    def load(cls, path: str | Path) -> "IndexSummary":
        """Reads what `save` wrote. Raises ResultError naming the file and what is wrong in it."""
        return cls.from_record(read_object(path), path)

    @classmethod
    def from_record(cls, record: Mapping[str, Any], where: str | Path) -> "IndexSummary":
        """As `load`, from the file's object."""
        summary = from_record(cls, record, str(where))
        budgets = [from_record(Budget, b, f"{where}: budgets") for b in summary.budgets]
        return dataclasses.replace(summary, budgets=budgets)


def _write(path: Path, content: Cell | IndexSummary) -> None:
    text = json.dumps(dataclasses.asdict(content), indent=1, ensure_ascii=False)
    write_atomically(path, text)
