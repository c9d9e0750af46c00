"""The first sentences of a report, computed from the results."""

import math
from collections.abc import Sequence

from evaluation.report import compare
from evaluation.report.compare import Group
from evaluation.report.figures import tradeoff
from evaluation.report.figures.training import total_frames
from evaluation.report.read_study import Study
from evaluation.report.wording import (
    BELOW_CHANCE,
    listed,
    percent,
    plural,
    score_text,
    signed,
    signed_range,
    within_noise,
)
from evaluation.statistics import Interval


def headline(study: Study) -> str:
    """Which policy gained most on video and what it cost on images, in one or two sentences."""
    points = tradeoff.points(study)
    if not points:
        return _nothing_to_compare(study)
    group, image, video = max(points, key=lambda point: point.video.mean)
    change = f"{_first(video)} over the base{_below_chance(study, group, 'video')}"
    if len(points) == 1:
        first = f"The only finished policy, {group.label}, changed video by {change}"
    elif video.mean > 0:
        first = f"Of the frame policies, {group.label} gained most on video: {change}"
    else:
        first = f"No frame policy gained on video; {group.label} lost least: {change}"
    if within_noise(video):
        first += ", which is within noise"
    return f"{first}. {_image_sentence(image, _below_chance(study, group, 'image'))}"


def findings(study: Study) -> list[str]:
    """The next things to know: cheapest, best, control, spending, and what is missing."""
    points = tradeoff.points(study)
    shown = []
    if len(points) > 1:
        shown += [
            _kept_images_best(study, points),
            _best_video(study, [group for group, _, _ in points]),
        ]
    shown += _controls(study, [group for group, _, _ in points])
    shown += _savings(study)
    return [sentence for sentence in shown if sentence]


def _nothing_to_compare(study: Study) -> str:
    if alone := compare.alone(study):
        return _scores_alone(study, alone)
    kinds = [each for each in compare.MODALITIES if each in study.benchmarks.values()]
    absent = [each for each in compare.PLANE if each not in kinds]
    if not kinds or not absent:
        return "No fine-tuned model and its base are both evaluated yet, so there is no result."
    modality = kinds[0]
    which = compare.of_modality(study, modality)
    gains = [(group, compare.gain(study, group.shown, which)) for group in compare.groups(study)]
    known = [(group, gain) for group, gain in gains if gain]
    text = f"The study has no {listed(absent)} benchmark, so the trade-off cannot be shown."
    if known:
        group, gain = max(known, key=lambda pair: pair[1].mean)
        over = f"over the base{_below_chance(study, group, modality)}{_noise(gain)}"
        text += f" Best on {plural(modality)}: {group.label} with {_first(gain)} {over}."
    return text


def _scores_alone(study: Study, alone: Sequence[compare.Shown]) -> str:
    texts = [
        f"{modality} {score_text(score)} % under {study.label(shown.policy)}"
        for shown in alone
        for modality in compare.MODALITIES
        if (score := compare.score(study, [shown], compare.of_modality(study, modality)))
    ]
    return f"One model, and nothing to compare it with: {listed(texts)}."


def _image_sentence(image: Interval, remark: str) -> str:
    if not image.excludes_zero:
        noise = ": within noise" if within_noise(image) else ""
        return f"On images it changed by {_points(image)}{remark}{noise}."
    verb = "It cost image skill" if image.mean < 0 else "It also gained on images"
    return f"{verb}: {_points(image)}{remark}."


def _below_chance(study: Study, group: Group, modality: str) -> str:
    """A remark that a change is one over a base that guessing beats; "" where it is not."""
    which = compare.of_modality(study, modality)
    base = compare.base_below_chance(study, group, which)
    if base is None:
        return ""
    level = percent(compare.chance(study, which))
    return f" ({BELOW_CHANCE}: {percent(base)} % where guessing gets {level} %)"


def _kept_images_best(study: Study, points: Sequence[tradeoff.Point]) -> str:
    group, image, video = max(points, key=lambda point: point.image.mean)
    on_images, on_video = (_below_chance(study, group, kind) for kind in compare.PLANE)
    return (
        f"Image skill was kept best by {group.label}: {_points(image)}{on_images}{_noise(image)}; "
        f"its change on video is {_points(video)}{on_video}{_noise(video)}."
    )


def _best_video(study: Study, groups: Sequence[Group]) -> str:
    which = compare.of_modality(study, "video")
    scores = {
        group.label: score.mean
        for group in groups
        if (score := compare.score(study, group.shown, which))
    }
    first, second, *_ = sorted(groups, key=lambda group: -scores[group.label])
    text = "Highest video score: " + ", then ".join(
        f"{group.label} with {percent(scores[group.label])} % at "
        f"{compare.mean_frames(group.shown):.1f} frames a question"
        for group in (first, second)
    )
    difference = compare.contrast(study, first, second, which)
    if difference is None:
        return f"{text}."
    return f"{text}. The difference is {_verdict(difference)}: {_points(difference)}."


def _controls(study: Study, groups: Sequence[Group]) -> list[str]:
    """A policy against its control with the same budgets given to other examples."""
    which = compare.of_modality(study, "video")
    sentences = []
    for control in groups:
        for group in groups:
            same = group.strategy == control.strategy
            if not (same and control.policy.is_control_of(group.policy)):
                continue
            difference = compare.contrast(study, group, control, which)
            if difference is None:
                continue
            if not difference.excludes_zero:
                effect = f"made a difference {_verdict(difference)}"
            else:
                effect = "helped" if difference.mean > 0 else "hurt"
            within = control.policy.spec["kind"] == "type_matched"
            sentences.append(
                f"Choosing which example gets which budget{' within a kind of question' * within} "
                f"{effect}: on video {group.label} differs from the same budgets dealt at random"
                f"{' among questions of a kind' * within} by {_points(difference)}"
                f"{_noise(difference)}."
            )
    return sentences


def _savings(study: Study) -> list[str]:
    clauses = []
    most = max((budget.visual_tokens for budget in study.budgets.values()), default=0)
    for policy in study.policies:
        budget = study.budgets.get(policy)
        if policy.is_fixed or policy.is_control or budget is None or not budget.histogram:
            continue
        mean = total_frames(budget.histogram) / sum(budget.histogram.values())
        saved = 1 - budget.visual_tokens / max(most, 1)
        clauses.append(
            f"{study.label(policy)} spends {mean:.1f} frames a video, {100 * saved:.0f} % fewer "
            "visual tokens"
        )
    return [f"Training cost against the largest budget of the study: {'; '.join(clauses)}."][
        : len(clauses)
    ]


def _noise(difference: Interval) -> str:
    return ", within noise" if within_noise(difference) else ""


def _verdict(difference: Interval) -> str:
    if math.isnan(difference.low):
        return "without an interval"
    return "beyond noise" if difference.excludes_zero else "within noise"


def _first(interval: Interval) -> str:
    """As `_points`, saying what the parentheses hold, and over how many questions it is."""
    kind = "" if math.isnan(interval.low) else "95 % interval "
    return f"{signed(interval.mean)} points ({kind}{signed_range(interval)}, n = {interval.n:,})"


def _points(interval: Interval) -> str:
    return f"{signed(interval.mean)} points ({signed_range(interval)})"
