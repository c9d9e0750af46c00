"""A study as the report sees it: models, their logs and evaluations, and the training data."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from evaluation.report.read_study.policies import FramePolicy
from evaluation.results import BenchmarkResult, Prediction
from evaluation.study_files import Budget, Cell
from input_pipeline.examples import MODALITIES


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """One model under one frame policy. predictions: by benchmark, then by question id. controls:
    by benchmark, then by the control's name."""

    results: Mapping[str, BenchmarkResult]
    predictions: Mapping[str, Mapping[str, Prediction]]
    controls: Mapping[str, Mapping[str, BenchmarkResult]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Model:
    """One trained model. policy: the cell's frame policy. train: rows of train.jsonl."""

    cell: Cell
    policy: FramePolicy | None
    train: tuple[Mapping[str, Any], ...]
    evaluations: Mapping[FramePolicy, Evaluation]

    @property
    def is_base(self) -> bool:
        """Whether it was not fine-tuned from another model of the study."""
        return self.cell.role == "base"


@dataclasses.dataclass(frozen=True)
class Study:
    """Everything that a report is made from.

    datasets: counts by training set. budgets: what each policy spends on them. problems: what was
    found missing or odd. diagnostics: what `evaluation.diagnostics.measure` wrote, {} without.
    """

    name: str
    models: tuple[Model, ...]
    datasets: Mapping[str, Mapping[str, Any]]
    budgets: Mapping[FramePolicy, Budget]
    problems: tuple[str, ...]
    diagnostics: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def has_own_training(self, model: Model) -> bool:
        """Whether a model is, or will be, trained for itself: not where it is another's, asked in
        another way, such as at a point between the base and the tuned model."""
        same = (m for m in self.models if m.cell.config_hash == model.cell.config_hash)
        return bool(model.train or not model.cell.config_hash or not any(m.train for m in same))

    @property
    def benchmarks(self) -> dict[str, str]:
        """Modality of every benchmark that any model was evaluated on, in the order of these."""
        found = {
            name: result.modality
            for model in self.models
            for evaluation in model.evaluations.values()
            for name, result in evaluation.results.items()
        }
        return dict(sorted(found.items(), key=lambda item: (MODALITIES.index(item[1]), item[0])))

    @property
    def policies(self) -> list[FramePolicy]:
        """Every frame policy of the study: fixed counts by size, then the others."""
        found = {model.policy for model in self.models if model.policy}
        for model in self.models:
            found |= set(model.evaluations)
        return sorted(found | set(self.budgets), key=lambda policy: policy.order)

    def label(self, policy: FramePolicy) -> str:
        """The policy's name for print; with digits of its key where another has the same name."""
        shared = any(other.label == policy.label for other in self.policies if other != policy)
        return f"{policy.label}~{policy.key[:4]}" if shared else policy.label
