"""Official numbers of benchmarks, and what guessing gets of them."""

from evaluation.report import compare
from evaluation.report.document import Table
from evaluation.report.read_study import Study
from evaluation.report.wording import NOT_RECORDED, count, percent, score_text
from evaluation.results import CONTROLS, BenchmarkResult, Metric
from evaluation.statistics import Interval


def official_tables(study: Study) -> list[Table]:
    """Of each official benchmark its numbers, a column for each model under each policy."""
    found = []
    for benchmark in compare.asked_benchmarks(study):
        columns = {
            f"{model.cell.name}, {study.label(policy)}": evaluation.results[benchmark].metrics
            for model in study.models
            for policy, evaluation in model.evaluations.items()
            if benchmark in evaluation.results and evaluation.results[benchmark].metrics
        }
        names = dict.fromkeys(name for metrics in columns.values() for name in metrics)
        rows = [
            [name.replace("_", " "), *(metric_text(each.get(name)) for each in columns.values())]
            for name in names
        ]
        if rows:
            found.append(Table(["number", *columns], rows, benchmark))
    return found


def control_table(study: Study) -> Table | None:
    """Scores beside what the same model gets with something taken away; None without controls."""
    found = [
        (f"{model.cell.name}, {study.label(policy)}", benchmark, result, controls)
        for model in study.models
        for policy, evaluation in model.evaluations.items()
        for benchmark, result in evaluation.results.items()
        if (controls := evaluation.controls.get(benchmark))
    ]
    names = [name for name in CONTROLS if any(name in controls for *_, controls in found)]
    rows = [
        [
            model,
            benchmark,
            *(_result_text(each) for each in (result, *(controls.get(name) for name in names))),
            percent(result.chance),
        ]
        for model, benchmark, result, controls in found
    ]
    columns = ["model", "benchmark", "score", *(CONTROLS[name] for name in names), "chance"]
    return Table(columns, rows) if rows else None


def _result_text(result: BenchmarkResult | None) -> str:
    if result is None:
        return NOT_RECORDED
    interval = Interval(result.score, result.low, result.high, result.n)
    return f"{score_text(interval)}, {result.n} questions"


def metric_text(metric: Metric | None) -> str:
    """A number with its interval."""
    if metric is None:
        return NOT_RECORDED
    value = count(metric.value, 1)
    if metric.low is None or metric.high is None:
        return value
    return f"{value} ({count(metric.low, 1)}–{count(metric.high, 1)})"
