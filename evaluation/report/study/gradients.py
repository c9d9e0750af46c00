"""The section on what the base's gradients said, beside what came of it."""

import math
from collections.abc import Mapping
from typing import Any

from evaluation.report import compare
from evaluation.report.document import Section, Table
from evaluation.report.read_study import Study
from evaluation.report.wording import NOT_FINISHED, gain_text


def gradient_sections(study: Study) -> list[Section]:
    """None for a study whose gradients were not measured."""
    found = study.diagnostics
    if not found:
        return []
    parts = list(next(iter(found["by_frames"].values()))["cosines"])
    rows = [
        [frames, *_row(each, parts), _outcome(study, int(frames))]
        for frames, each in found["by_frames"].items()
    ]
    headers = ["frames", *(f"cosine, {part}" for part in parts)]
    headers += ["E‖g‖²", "of it scatter", "step bound", "at half of it: pictures, clips"]
    headers += ["what came of it on images, points"]
    turn = found["sign_change"]
    text = (
        f"Before fine-tuning: gradients of the base on {found['pictures']} and on clips with so "
        f"many frames, over {found['batches']} batches. A cosine below zero: to first order clips "
        "undo pictures. The bound is that of proposition 1 of arXiv 2603.17541 with the curvature "
        f"{found['curvature']:.3g} of the loss on pictures, and beside it stands how the losses "
        "really changed after a plain step of half that size. Training steps are AdamW's and are "
        "many; this is their first direction. "
    )
    text += (
        f"Cooperation turns into conflict at about {turn:.0f} frames."
        if turn
        else "The cosine does not change its sign from above zero to below among these counts."
    )
    return [Section("What the gradients said", text, tables=[Table(headers, rows)])]


def _row(each: Mapping[str, Any], parts: list[str]) -> list[str]:
    cells = [_number(each["cosines"][part], "+.2f") for part in parts]
    cells += [_number(each["second_moment"], ".3g"), _number(each["noise"], ".0%")]
    half = min(each["changes"], key=lambda change: abs(change[0] - each["changes"][2][0] / 2))
    bound = "no conflict" if each["bound"] is None else f"{each['bound']:.3g}"
    return [*cells, bound, f"{half[1]:+.4f}, {half[2]:+.4f}"]


def _number(value: float | None, form: str) -> str:
    return "–" if value is None or math.isnan(value) else format(value, form)


def _outcome(study: Study, frames: int) -> str:
    which = compare.of_modality(study, "image")
    for group in compare.groups(study):
        if group.policy.is_fixed and group.policy.spec["frames"] == frames:
            return gain_text(compare.gain(study, group.shown, which))
    return NOT_FINISHED
