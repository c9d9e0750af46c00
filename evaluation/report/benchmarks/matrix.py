"""Models trained with m frames, shown n."""

from collections.abc import Sequence

from evaluation.report import compare
from evaluation.report.compare import Shown, Slice
from evaluation.report.document import Table
from evaluation.report.read_study import FramePolicy, Model, Study
from evaluation.report.wording import Strong, of_questions, score_text


def matrix_tables(study: Study) -> list[Table]:
    """Of each benchmark about videos the scores of every model, a row, under every frame policy
    that it was shown, a column; strong under the one that it was trained with. None where all
    were shown the same, or no fine-tuned model any but its own."""
    found = [
        _table(study, name)
        for name, modality in study.benchmarks.items()
        if modality == "video"
        and any(m.policy and set(_shown(m, name)) - {m.policy} for m in study.models)
    ]
    return [table for table in found if len(table.headers) > 2]


def _table(study: Study, benchmark: str) -> Table:
    rows: list[tuple[str, FramePolicy | None, Sequence[Model]]] = [
        (model.cell.name, None, [model]) for model in study.models if model.is_base
    ]
    rows += [(group.label, group.policy, group.models) for group in compare.groups(study)]
    found = {policy for _, _, models in rows for m in models for policy in _shown(m, benchmark)}
    policies = sorted(found, key=lambda policy: policy.order)
    which = Slice((benchmark,))
    cells = []
    for label, trained, models in rows:
        scores = [compare.score(study, [Shown(m, p) for m in models], which) for p in policies]
        texts = [score_text(each) if each else "–" for each in scores]
        own = [policy == trained for policy in policies]
        cells.append([label, *(Strong(t) if o else t for t, o in zip(texts, own, strict=True))])
    headers = ["trained with", *(f"shown {study.label(policy)}" for policy in policies)]
    return Table(headers, cells, f"{benchmark}, {of_questions(*compare.questions(study, which))}")


def _shown(model: Model, benchmark: str) -> list[FramePolicy]:
    return [policy for policy, each in model.evaluations.items() if benchmark in each.results]
