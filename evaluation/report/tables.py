"""study.csv and the tables of the report."""

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from evaluation.report import compare
from evaluation.report.compare import Group, Shown, Slice
from evaluation.report.document import Table
from evaluation.report.figures.training import losses
from evaluation.report.read_study import FramePolicy, Model, Study
from evaluation.report.wording import (
    NOT_FINISHED,
    NOT_RECORDED,
    count,
    gain_text,
    listed,
    of_questions,
    percent,
    plural,
    score_text,
    shortened,
)
from evaluation.results import BenchmarkResult, Part

CSV_COLUMNS = (
    "cell", "role", "frames", "seed", "benchmark", "modality", "task", "score", "low", "high", "n",
    "base_score", "delta", "delta_low", "delta_high",
)  # fmt: skip


def study_csv(study: Study) -> str:
    """One row per cell × benchmark × task, task "" for all questions; scores in 0..1, of held texts
    in bits a byte.

    frames is the policy of the evaluation. A row without a score is a cell that has not finished
    that benchmark.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for model in study.models:
        policies: Sequence[FramePolicy | None] = _policies(study, model) or [None]
        for policy in policies:
            for benchmark in study.benchmarks or [""]:
                writer.writerows(_csv_rows(study, model, policy, benchmark))
    return text.getvalue()


def _policies(study: Study, model: Model) -> list[FramePolicy]:
    """Those that a model is, or will be, evaluated under: its own, or all for a base."""
    expected = [model.policy] if model.policy else study.policies
    return sorted({*expected, *model.evaluations}, key=lambda policy: policy.order)


def _csv_rows(
    study: Study, model: Model, policy: FramePolicy | None, benchmark: str
) -> Iterator[dict[str, str | float]]:
    row: dict[str, str | float] = {
        "cell": model.cell.name,
        "role": model.cell.role,
        "frames": study.label(policy) if policy else "",
        "seed": model.cell.seed,
        "benchmark": benchmark,
        "modality": study.benchmarks.get(benchmark, ""),
        "task": "",
    }
    result = compare.result_of(study, Shown(model, policy), benchmark) if policy else None
    if policy is None or result is None:
        yield row
        return
    base = None if model.is_base else compare.base_of(study, model)
    base_result = compare.result_of(study, Shown(base, policy), benchmark) if base else None
    base_parts = _parts(base_result) if base_result else {}
    held = study.benchmarks[benchmark] == compare.HELD_TEXT
    for task, part in _parts(result).items():
        which = Slice((benchmark,), task or None)
        scored = compare.score(study, [Shown(model, policy)], which) if held else None
        mean = scored.mean if scored else part.score
        low, high = (scored.low, scored.high) if scored else (part.low, part.high)
        row |= {"task": task, "score": mean, "low": low, "high": high, "n": part.n}
        row |= dict.fromkeys(CSV_COLUMNS[-4:], "")
        base_part = base_parts.get(task)
        gain = compare.gain(study, [Shown(model, policy)], which)
        if base_part and gain:
            row |= {
                "base_score": mean - gain.mean if held else base_part.score,
                "delta": gain.mean,
                "delta_low": "" if math.isnan(gain.low) else gain.low,
                "delta_high": "" if math.isnan(gain.high) else gain.high,
            }
        yield row


def _parts(result: BenchmarkResult) -> dict[str, BenchmarkResult | Part]:
    """All questions under "", then each task's."""
    return {"": result, **result.by_task}


def score_table(study: Study) -> Table:
    """Image and video score of the base and of each fine-tuned model, and the change."""
    rows, shown_of = [], compare.modalities(study)
    for group in compare.groups(study):
        frames = compare.mean_frames([*group.shown, *compare.base_shown(study, group)])
        cells = [group.label, "–" if math.isnan(frames) else f"{frames:.1f}"]
        for modality in shown_of:
            which = compare.of_modality(study, modality)
            if not which.benchmarks:
                cells += ["no benchmark"] * 3
                continue
            cells += [
                score_text(compare.score(study, compare.base_shown(study, group), which)),
                score_text(compare.score(study, group.shown, which)),
                _gain(study, group, which),
            ]
        rows.append(cells)
    for shown in compare.alone(study):
        frames = compare.mean_frames([shown])
        cells = [study.label(shown.policy), "–" if math.isnan(frames) else f"{frames:.1f}"]
        for modality in shown_of:
            which = compare.of_modality(study, modality)
            known = which.benchmarks
            score = score_text(compare.score(study, [shown], which)) if known else "no benchmark"
            cells += [score, "", ""]
        rows.append(cells)
    cells = ["chance", ""]
    for modality in shown_of:
        level = percent(compare.chance(study, compare.of_modality(study, modality)))
        cells += [level, level, ""]
    rows.append(cells)
    headers = ["frame policy", "frames a video"]
    headers += [f"{m}: {what}" for m in shown_of for what in ("base", "tuned", "change")]
    title = (
        f"Scores in percent and changes in points, with 95 % intervals; questions: {asked(study)}"
    )
    return Table(headers, rows, title)


def asked(study: Study) -> str:
    """ "images n = 400, videos n = 120": the questions behind the scores."""
    numbers = [
        f"{plural(modality)} {of_questions(*compare.questions(study, which))}"
        for modality in compare.MODALITIES
        if (which := compare.of_modality(study, modality)).benchmarks
    ]
    return ", ".join(numbers) or NOT_FINISHED


def smallest_changes(study: Study) -> str:
    """A sentence on the smallest change that could be seen; "" where there is no change at all."""
    found = {
        modality: compare.smallest_change(study, compare.of_modality(study, modality))
        for modality in compare.MODALITIES
    }
    known = [f"{percent(s)} points on {plural(m)}" for m, s in found.items() if not math.isnan(s)]
    if not known:
        return ""
    return (
        "The smallest true change that questions like these show with 80 % power at the 5 % level: "
        f"{listed(known)}."
    )


def benchmark_tables(study: Study) -> list[Table]:
    """Change by benchmark, for modalities that have more than one."""
    modalities = list(study.benchmarks.values())
    asked = compare.asked_benchmarks(study)
    names = [name for name in asked if modalities.count(study.benchmarks[name]) > 1]
    if not names:
        return []
    rows = [
        [group.label, *(_gain(study, group, Slice((b,))) for b in names)]
        for group in compare.groups(study)
    ]
    n = {b: of_questions(*compare.questions(study, Slice((b,)))) for b in names}
    headers = ["frame policy", *(f"{b} ({study.benchmarks[b]}, {n[b]})" for b in names)]
    return [Table(headers, rows, "Change by benchmark, in points")]


def _gain(study: Study, group: Group, which: Slice) -> str:
    below = compare.base_below_chance(study, group, which) is not None
    return gain_text(compare.gain(study, group.shown, which), below_chance=below)


def example_tables(study: Study) -> list[Table]:
    """Why each policy that varies gave an example its frames."""
    tables = []
    for policy in study.policies:
        examples = study.budgets[policy].examples if policy in study.budgets else ()
        if policy.is_fixed or not examples:
            continue
        rows = [
            [str(e.get("frames", "")), shortened(e.get("instruction", "")), e.get("why", "")]
            for e in examples[:6]
        ]
        headers = ["frames", "instruction", "why"]
        title = f"Examples of {study.label(policy)}"
        tables.append(Table(headers, rows, title, words=("instruction", "why")))
    return tables


def throughput_table(study: Study) -> Table:
    """Steps, loss and speed of each model's training: medians over the logged steps and seeds."""
    headers = [
        "model", "steps", "last loss", "examples/s", "tokens/s", "visual tokens/s",
        "waiting for data", "token fill", "patch fill", "gradient norm",
    ]  # fmt: skip
    rows = []
    for name, models in _by_group(study):
        logged = [model for model in models if model.train]
        if not logged:
            own = any(map(study.has_own_training, models))
            rows.append([name, NOT_FINISHED if own else "another's model", *[""] * 8])
            continue
        last = [loss for model in logged for _, loss in losses(model)[-5:]]
        rows.append(
            [
                name,
                count(max(float(model.train[-1]["step"]) for model in logged)),
                f"{np.median(last):.3f}" if last else NOT_RECORDED,
                count(_median(logged, "examples_per_second"), 1),
                count(_median(logged, "tokens_per_second")),
                count(_median(logged, "visual_tokens_per_second")),
                _share(_median(logged, "data_wait_fraction")),
                _share(_median(logged, "token_fill")),
                _share(_median(logged, "patch_fill")),
                count(_median(logged, "grad_norm"), 2),
            ]
        )
    return Table(headers, rows)


def data_table(study: Study) -> Table | None:
    """What became of every data set's examples while it was prepared; None if not recorded."""
    rows = [
        [
            name,
            count(data.get("examples")),
            count(data.get("kept")),
            count(data.get("left_out")),
            _counts(data.get("shrunk")),
            _counts(data.get("quarantined")),
        ]
        for name, data in study.datasets.items()
    ]
    headers = ["data set", "examples", "kept", "too long", "shrunk", "quarantined"]
    words = ("shrunk", "quarantined")
    return Table(headers, rows, "While the data was prepared", words=words) if rows else None


def masked_table(study: Study) -> Table:
    """What failed later: training examples, questions, and answers that could not be read."""
    rows = []
    for name, models in _by_group(study):
        logged = (row.get("masked") for model in models for row in model.train)
        counts = [masked for masked in logged if masked is not None]
        results = [
            result
            for model in models
            for evaluation in model.evaluations.values()
            for result in evaluation.results.values()
            if result.modality != compare.HELD_TEXT
        ]
        rows.append(
            [
                name,
                count(sum(counts)) if counts else NOT_RECORDED,
                count(sum(r.n + r.masked for r in results)) if results else NOT_FINISHED,
                count(sum(r.masked for r in results)) if results else "",
                count(sum(r.unparsed for r in results)) if results else "",
            ]
        )
    headers = [
        "model", "masked in training", "questions", "masked questions", "unread answers",
    ]  # fmt: skip
    return Table(headers, rows, "While models were trained and evaluated")


def status_table(study: Study) -> Table:
    """Every model of the study and how far it is."""
    rows = []
    for model in study.models:
        missing = [
            f"{benchmark} under {study.label(policy)}"
            for policy in _policies(study, model)
            for benchmark in study.benchmarks
            if compare.result_of(study, Shown(model, policy), benchmark) is None
        ]
        if not study.benchmarks or (missing and not model.evaluations):
            missing = ["evaluation"]
        released = model.is_base and model.evaluations  # as it seems: these have no log
        if not model.train and not released and study.has_own_training(model):
            missing.insert(0, "training log")
        state = f"{NOT_FINISHED}: {listed(missing)}" if missing else "finished"
        cell, frames = model.cell, study.label(model.policy) if model.policy else "–"
        rows.append([cell.name, cell.role, frames, str(cell.seed), cell.start, state])
    headers = ["model", "role", "frames", "seed", "starts from", "state"]
    return Table(headers, rows, words=("role", "frames", "starts from", "state"))


def _by_group(study: Study) -> list[tuple[str, Sequence[Model]]]:
    """The base and every group of fine-tuned models, with the number of seeds if several."""
    bases = [model for model in study.models if model.is_base]
    found: list[tuple[str, Sequence[Model]]] = [("base", bases)]
    found += [(group.label, group.models) for group in compare.groups(study)]
    return [
        (f"{name}, {len(models)} seeds" if len(models) > 1 else name, models)
        for name, models in found
        if models
    ]


def _median(models: Sequence[Model], key: str) -> float:
    values = [float(row[key]) for m in models for row in m.train if row.get(key) is not None]
    return float(np.median(values)) if values else math.nan


def _share(value: float) -> str:
    return NOT_RECORDED if math.isnan(value) else f"{100 * value:.0f} %"


def _counts(counts: Mapping[str, int] | None) -> str:
    if counts is None:
        return NOT_RECORDED
    return ", ".join(f"{name} {n:,}" for name, n in counts.items()) or "none"
