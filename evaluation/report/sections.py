"""What the report says, in order. Each section explains itself in a sentence or two."""

import functools
from collections.abc import Callable, Mapping, Sequence

from matplotlib.figure import Figure as Plot

from evaluation.report import compare, questions, tables, thumbnails
from evaluation.report.benchmarks import benchmark_sections
from evaluation.report.document import Document, Figure, Section
from evaluation.report.figures import remedies, scores, tradeoff, training
from evaluation.report.figures.style import Theme
from evaluation.report.headline import findings, headline
from evaluation.report.read_study import Study
from evaluation.report.study import (
    MATTERS,
    claim_table,
    gradient_sections,
    ranked_remedies,
    sufficient_sections,
)
from evaluation.report.wording import (
    BELOW_CHANCE,
    NOT_FINISHED,
    NOT_RECORDED,
    listed,
    of_questions,
    percent,
    plural,
    signed,
    task_name,
    within_noise,
)
from evaluation.statistics import Interval


def make_document(study: Study) -> Document:
    """The report of a study; sections without data say what is missing."""
    sections = [
        _tradeoff(study),
        _scores(study),
        _tasks(study),
        *_claims(study),
        *benchmark_sections(study),
        _questions(study),
        _frames(study),
        _budgets(study),
        *sufficient_sections(study),
        *gradient_sections(study),
        _loss(study),
        _throughput(study),
        _dropped(study),
        _status(study),
        _reading(study),
    ]
    title = f"Video gains, image costs: {study.name}"
    return Document(title, headline(study), findings(study), sections)


def _figure(name: str, text: str, draw: Callable[[Study, Theme], Plot], study: Study) -> Figure:
    return Figure(name, text, functools.partial(draw, study))


def _tradeoff(study: Study) -> Section:
    text = (
        "Each point is a model fine-tuned on video with one frame policy, compared with its base "
        "on the same questions and the same frames. Higher is better on video, further right is "
        "better on images; a whisker that crosses a zero line is a change within noise. The base "
        "is where the lines cross; along the dashed Pareto front more of the one costs the other."
    )
    if any(len(group.models) > 1 for group in compare.groups(study)):
        text += " Faint points are single seeds."
    points = tradeoff.points(study)
    figures = []
    if plain := tradeoff.without_remedies(study):
        by_modality = [(p.group, {"image": p.image, "video": p.video}) for p in plain]
        summary = f"Trade-off in points. {_summary(by_modality)}"
        figures.append(_figure("tradeoff", summary, tradeoff.draw, study))
    if treated := remedies.rows(study):
        text += (
            " The second figure has the remedies, best on images first, with what they cost; hollow"
            " and dashed is the policy that they belong to, without one."
        )
        summary = f"Remedies, in points. {_summary(treated)}"
        figures.append(_figure("remedies", summary, remedies.draw, study))
    shown = {group.label for group, _, _ in points}
    absent = [g.label for g in compare.groups(study) if g.label not in shown]
    notes = [f"Not in the figure, because {NOT_FINISHED}: {', '.join(absent)}."] if absent else []
    return Section("The trade-off", text, figures, notes=notes)


def _summary(changes: Sequence[tuple[compare.Group, Mapping[str, Interval | None]]]) -> str:
    return "; ".join(
        f"{group.label}: "
        + ", ".join(f"{plural(modality)} {_change(c)}" for modality, c in found.items() if c)
        for group, found in changes
    )


def _change(difference: Interval) -> str:
    return signed(difference.mean) + (" (within noise)" if within_noise(difference) else "")


def _scores(study: Study) -> Section:
    text = (
        "Hollow marks are the base, filled ones the fine-tuned model; both see the same frames. "
        "The dashed line is what guessing gets. Bold changes are beyond noise."
    )
    if len(study.benchmarks) > 2:
        text += " Several benchmarks of one kind count equally."
    figures = []
    if any(compare.finished(study, g.shown, w) for g, w in _pairs(study)):
        text_alternative = "Scores of base and fine-tuned models; the table has the numbers."
        figures = [_figure("scores", text_alternative, scores.draw_scores, study)]
    shown = [tables.score_table(study), *tables.benchmark_tables(study)]
    smallest = tables.smallest_changes(study)
    notes = [*([smallest] if smallest else []), *_seed_notes(study)]
    return Section("Scores", text, figures, shown, notes)


def _pairs(study: Study) -> list[tuple[compare.Group, compare.Slice]]:
    return [
        (group, compare.of_modality(study, modality))
        for group in compare.groups(study)
        for modality in compare.MODALITIES
    ]


def _seed_notes(study: Study) -> list[str]:
    notes = []
    for group in compare.groups(study):
        done = [
            each
            for each in group.shown
            if all(
                compare.finished(study, [each], compare.of_modality(study, modality))
                for modality in set(study.benchmarks.values())
            )
        ]
        if len(done) < len(group.shown):
            notes.append(f"{group.label}: {len(done)} of {len(group.shown)} models finished.")
    return notes


def _tasks(study: Study) -> Section:
    text = (
        "Where the change comes from: points over the base for each task. Bold numbers are beyond "
        "noise; with many cells, expect about one in twenty to look so by luck. † marks a change "
        "over a base that scores below chance."
    )
    shown = any(
        compare.gain(study, group.shown, compare.Slice((benchmark,)))
        for group in compare.groups(study)
        for benchmark in compare.asked_benchmarks(study)
    )
    if not shown:
        return Section("By task", text, notes=[f"Comparison by task: {NOT_FINISHED}."])
    alternative = "Change over the base for each task and policy; study.csv has the numbers."
    figures = [_figure("tasks", alternative, scores.draw_tasks, study)]
    if remedies.rows(study):
        text += " The second figure has the remedies, beside the policy that they belong to."
        alternative = alternative.replace("policy", "remedy")
        figures.append(_figure("tasks_of_remedies", alternative, scores.draw_remedies_tasks, study))
    return Section("By task", text, figures, notes=_tasks_below_chance(study))


def _tasks_below_chance(study: Study) -> list[str]:
    notes = []
    for benchmark in compare.asked_benchmarks(study):
        for task in compare.tasks(study, benchmark):
            which = compare.Slice((benchmark,), task)
            bases = {
                group.label: percent(base)
                for group in compare.groups(study)
                if (base := compare.base_below_chance(study, group, which)) is not None
            }
            if bases:
                under = listed([f"{base} % under {label}" for label, base in bases.items()])
                level = percent(compare.chance(study, which))
                name = f"{task_name(task)} ({of_questions(*compare.questions(study, which))})"
                notes.append(f"{name}: {BELOW_CHANCE} ({level} %), {under}.")
    return notes


def _claims(study: Study) -> list[Section]:
    """None for runs that no study made."""
    shown = [claim_table(study), ranked_remedies(study)]
    text = (
        "Yes: the 95 % interval lies on the claimed side of zero. No: it does not, and excludes an "
        f"effect of {100 * MATTERS:.0f} points. Cannot tell: everything else. With so many "
        "comparisons, expect about one in forty to say yes by luck. Controls are found by their "
        "specs; the frames beside them say whether both cost the same."
    )
    tables = [table for table in shown if table]
    return [Section("What was claimed", text, tables=tables)] if tables else []


def _questions(study: Study) -> Section:
    text = (
        "What the models said: for each policy the first question that was gained, lost, right "
        "and wrong both times, so that these tell nothing about how often each happens. Both "
        "models saw the same frames, as many as the policy gave for the reason named; of many, "
        f"{thumbnails.MOST} are shown here."
    )
    cards, notes = questions.question_cards(study)
    if not cards:
        notes = [f"Answers of a base and a fine-tuned model: {NOT_FINISHED}."]
    return Section("Example questions", text, cards=cards, notes=notes)


def _frames(study: Study) -> Section:
    text = (
        "What the frames buy. First: video score against the mean number of frames a question "
        "was shown; thin lines join the fixed budgets."
    )
    which = compare.of_modality(study, "video")
    if not any(compare.finished(study, group.shown, which) for group in compare.groups(study)):
        return Section("By frame budget", text, notes=[f"Video evaluation: {NOT_FINISHED}."])
    alternative = "Video score against mean frames, for the base and every policy."
    figures = [_figure("frames", alternative, scores.draw_frames, study)]
    if scores.adaptive_groups(study):
        text += (
            " Second: the policies that vary, split by the number of frames that a question got. "
            "Questions differ between the columns, so compare base with tuned, not columns."
        )
        alternative = "Score by number of frames, for policies that vary."
        figures.append(_figure("by_frames", alternative, scores.draw_by_frames, study))
    return Section("By frame budget", text, figures)


def _budgets(study: Study) -> Section:
    text = (
        "How many frames each policy gives to the training videos, in percent of the videos, and "
        "examples with the policy's reason."
    )
    if not any(budget.histogram for budget in study.budgets.values()):
        return Section("Frame budgets", text, notes=[f"Frame budgets: {NOT_RECORDED}."])
    alternative = "Histogram of frames for each policy."
    figures = [_figure("budgets", alternative, training.draw_budgets, study)]
    return Section("Frame budgets", text, figures, tables.example_tables(study))


def _loss(study: Study) -> Section:
    text = (
        "Loss on the training data, smoothed over five logged steps, faint lines unsmoothed. "
        "Policies see different frames, so a lower curve does not mean a better model."
    )
    if not any(training.losses(model) for model in study.models):
        return Section("Training loss", text, notes=[f"Training loss: {NOT_RECORDED}."])
    figures = [_figure("loss", "Training loss against step.", training.draw_loss, study)]
    return Section("Training loss", text, figures)


def _throughput(study: Study) -> Section:
    text = (
        "Medians over the logged steps and the seeds. Fill is the share of a batch's token and "
        "patch positions that hold data rather than padding."
    )
    return Section("Training speed", text, tables=[tables.throughput_table(study)])


def _dropped(study: Study) -> Section:
    text = (
        "Nothing is dropped silently. Quarantined examples could not be used, shrunk ones lost "
        "pixels or frames to fit, masked ones failed to decode and are in no loss and no mean. "
        "An unread answer counts as wrong."
    )
    prepared = tables.data_table(study)
    notes = [] if prepared else [f"Preparation of the data: {NOT_RECORDED}."]
    shown = [*filter(None, [prepared]), tables.masked_table(study)]
    return Section("What was dropped or masked", text, tables=shown, notes=notes)


def _status(study: Study) -> Section:
    text = "Every model of the study and whether its training log and evaluations are there."
    return Section("Models", text, tables=[tables.status_table(study)], notes=study.problems)


def _reading(study: Study) -> Section:
    text = (
        "Intervals are 95 % intervals: a bootstrap that draws clips and pictures, each with all of "
        "its questions, or Wilson's for right-or-wrong scores with one question each. Changes are "
        "paired: a question is drawn with the answers of both models. With several seeds, seeds "
        "and clips both count as samples (two-way analysis of variance, t interval). Within noise "
        "means that the interval holds zero. Every interval is for its own comparison, without "
        "correction for how many there are; --job=compare corrects the tasks of two models."
    )
    return Section("How to read the numbers", text)
