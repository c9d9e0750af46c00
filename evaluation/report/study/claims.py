"""What a study claims, answered by its results: docs/study.md says how it is decided."""

import dataclasses
import math
from collections.abc import Iterator

from evaluation.report import compare
from evaluation.report.compare import Group
from evaluation.report.document import Table
from evaluation.report.read_study import Study
from evaluation.report.wording import NOT_FINISHED, bits_change_text, gain_text, plural
from evaluation.statistics import Interval

MATTERS = 0.02  # the smallest effect that matters, of a score in 0..1


@dataclasses.dataclass(frozen=True)
class Claim:
    """text: what is claimed. sign: 1 where the number is claimed to be above zero, -1 below.
    found: the number with its interval; None while models are not finished. beside: more of it."""

    text: str
    sign: int
    found: Interval | None
    beside: str = ""

    @property
    def answer(self) -> str:
        """ "yes", "no" or "cannot tell"; see docs/study.md."""
        if self.found is None:
            return NOT_FINISHED
        low, high = sorted((self.sign * self.found.low, self.sign * self.found.high))
        if math.isnan(low):
            return "cannot tell"
        return "yes" if low > 0 else "no" if high < MATTERS else "cannot tell"


def claims(study: Study) -> list[Claim]:
    """All that the study has the models for, in the order of docs/study.md. Groups and controls are
    found by their specs."""
    images, videos = (compare.of_modality(study, modality) for modality in compare.PLANE)
    plain, _ = compare.by_remedy(study)
    found: list[Claim] = []
    for sign, verb, which, modality in (
        (1, "raises", videos, "video"),
        (-1, "lowers", images, "image"),
    ):
        for group in plain:
            text = f"Video-SFT {verb} {modality} scores: {group.label}"
            found.append(Claim(text, sign, compare.gain(study, group.shown, which)))
    fixed = [group for group in plain if group.policy.is_fixed]
    if len(fixed) > 1:
        few, many = fixed[0], fixed[-1]
        text = f"The image cost grows with frames: {many.label} − {few.label} on images"
        found.append(Claim(text, -1, compare.contrast(study, many, few, images)))
    for control in plain:
        for group in plain:
            if control.policy.is_control_of(group.policy):
                found += _against_control(study, group, control)
    for group in plain:
        if fixed and not group.policy.is_fixed and not group.policy.is_control:
            found += _asked_alike(study, group, fixed[-1])
    for group, untreated in _treated(study):
        cost = gain_text(compare.contrast(study, group, untreated, videos))
        text = f"{group.strategy} keeps image skill: {group.label} − {untreated.label} on images"
        change = compare.contrast(study, group, untreated, images)
        found.append(Claim(text, 1, change, f"on videos {cost}"))
    return found


def _treated(study: Study) -> Iterator[tuple[Group, Group]]:
    """Each group with a remedy, and the one with the same frame policy and none."""
    plain, treated = compare.by_remedy(study)
    by_policy = {group.policy: group for group in reversed(plain)}
    return ((group, by_policy[group.policy]) for group in treated if group.policy in by_policy)


def claim_table(study: Study) -> Table | None:
    """The claims with their answers; None for runs that no study made, which claim nothing."""
    if not study.datasets:  # which only a study records
        return None
    rows = [[each.answer, each.text, gain_text(each.found), each.beside] for each in claims(study)]
    headers = ["answer", "claim", "points", "beside it"]
    return Table(headers, rows, words=("claim", "beside it")) if rows else None


def ranked_remedies(study: Study) -> Table | None:
    """Remedies by what they keep on images, with what they cost on videos and, where it was asked
    about, what they keep of text; None without any."""
    over_none = {
        f"{plural(modality)}: over none": compare.of_modality(study, modality)
        for modality in compare.modalities(study)
    }
    images, held = (compare.of_modality(study, each) for each in ("image", compare.HELD_TEXT))
    rows = []
    for group, untreated in _treated(study):
        found = [compare.contrast(study, group, untreated, which) for which in over_none.values()]
        cells = [group.label, *map(gain_text, found)]
        cells.append(gain_text(compare.gain(study, group.shown, images)))
        if held.benchmarks:
            cells.append(bits_change_text(compare.contrast(study, group, untreated, held)))
        rows.append((found[0].mean if found[0] else -math.inf, cells))
    headers = ["remedy", *over_none, "images: over the base"]
    headers += ["held text, bits a byte: over none"] if held.benchmarks else []
    ordered = [row for _, row in sorted(rows, key=lambda pair: -pair[0])]
    return Table(headers, ordered, "Remedies, best on images first") if rows else None


def _against_control(study: Study, group: Group, control: Group) -> Iterator[Claim]:
    images, videos = (compare.of_modality(study, modality) for modality in compare.PLANE)
    pair = f"{group.label} − {control.label}"
    frames = " and ".join(f"{compare.mean_frames(each.shown):.2f}" for each in (group, control))
    beside = f"frames a question: {frames}"
    difference = compare.contrast(study, group, control, videos)
    if control.policy.spec["kind"] == "type_matched":
        text = f"It matters which clip, beyond the kind of question: {pair} on videos"
        yield Claim(text, 1, difference, beside)
        return
    text = f"It matters which example gets many frames: {pair} on videos"
    yield Claim(text, 1, difference, beside)
    text = f"Choosing examples spares images: {pair} on images"
    yield Claim(text, 1, compare.contrast(study, group, control, images), beside)


def _asked_alike(study: Study, group: Group, fixed: Group) -> Iterator[Claim]:
    """Two groups asked with the frames of one of them: what training did, and not asking."""
    asked = dataclasses.replace(group, policy=fixed.policy)
    videos = compare.of_modality(study, "video")
    if not any(fixed.policy in model.evaluations for model in group.models):
        return
    text = (
        "Training with the rule helps beyond being asked with it: "
        f"{group.label} − {fixed.label} on videos, both shown {fixed.policy.spec['frames']} frames"
    )
    yield Claim(text, 1, compare.contrast(study, asked, fixed, videos))
