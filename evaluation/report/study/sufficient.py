"""The section on how few frames would have done, from the base's answers at fixed counts."""

from evaluation.diagnostics.sufficient import Fit, fit_of
from evaluation.report import compare
from evaluation.report.compare import Shown
from evaluation.report.document import Section, Table
from evaluation.report.read_study import FramePolicy, Model, Study
from evaluation.report.wording import percent, signed, signed_range
from evaluation.results import Prediction


def sufficient_sections(study: Study) -> list[Section]:
    """None where no base was asked at two fixed counts and under a policy that varies."""
    tables = [
        table
        for model in study.models
        if model.is_base
        for benchmark, modality in study.benchmarks.items()
        if modality == "video" and (table := _table(study, model, benchmark))
    ]
    text = (
        "The smallest sufficient budget of a question is the fewest frames from which on the "
        "base's answer does not change any more. Each policy's budgets against it, before any "
        "model was tuned with them. Regret is what the score would gain at the largest count; a "
        "policy that saves frames at no regret gives each question what it needs. "
        "A model that makes nothing of frames needs few."
    )
    return [Section("Smallest sufficient budgets", text, tables=tables)] if tables else []


def _table(study: Study, model: Model, benchmark: str) -> Table | None:
    def said(policy: FramePolicy) -> dict[str, Prediction]:
        return dict(compare.answers(study, Shown(model, policy), benchmark))

    fixed = {p.spec["frames"]: said(p) for p in model.evaluations if p.is_fixed}
    by_count = {count: answers for count, answers in fixed.items() if answers}
    if len(by_count) < 2:
        return None
    rows = []
    for policy in sorted(model.evaluations, key=lambda policy: policy.order):
        budgets = {row.id: row.frames for row in said(policy).values() if row.frames}
        fit = fit_of(by_count, budgets)
        if fit:
            rows.append([study.label(policy), *_cells(fit)])
    counts = ", ".join(map(str, sorted(by_count)))
    headers = [
        *("frame policy", "frames", "frames saved", "regret, points"),
        *("too few, %", "as needed, %", "more than needed, %"),
    ]
    needed = f"{fit.needed:.1f}" if rows and fit else "–"
    title = f"{benchmark}, {model.cell.name} at {counts} frames; needed on average: {needed}"
    return Table(headers, rows, title) if rows else None


def _cells(fit: Fit) -> list[str]:
    regret = f"{signed(fit.regret.mean)} ({signed_range(fit.regret)})"
    return [f"{fit.frames:.1f}", f"{fit.saved:.1f}", regret, *map(percent, fit.shares)]
