"""The figure that the study is about: video gained against image skill lost."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox

from evaluation.report import compare
from evaluation.report.compare import Group
from evaluation.report.figures.style import Theme, error_bars, figure, group_looks, point_style
from evaluation.report.read_study import Study
from evaluation.report.wording import of_questions
from evaluation.statistics import Interval

# Where a name may stand, seen from its point: (x, y) in points, and the side of it that is nearer.
_BESIDE = (
    *((9, 9, "left"), (-9, 9, "right"), (9, -15, "left"), (-9, -15, "right")),
    *((16, -3, "left"), (-16, -3, "right"), (0, 16, "center"), (0, -22, "center")),
)


class Point(NamedTuple):
    """A group with its gains on images and on videos."""

    group: Group
    image: Interval
    video: Interval


def points(study: Study) -> list[Point]:
    """Groups that have both gains."""
    found = []
    for group in compare.groups(study):
        image, video = (
            compare.gain(study, group.shown, compare.of_modality(study, modality))
            for modality in compare.PLANE
        )
        if image and video:
            found.append(Point(group, image, video))
    return found


def without_remedies(study: Study) -> list[Point]:
    """The points of groups without a remedy."""
    plain, _ = compare.by_remedy(study)
    return [point for point in points(study) if point.group in plain]


def draw(study: Study, theme: Theme) -> Figure:
    """The groups without a remedy. x: change on images, y: change on videos, in points over the
    base, which lies at the origin; arrows lead from it, whiskers: 95 %, dashed: the Pareto front.
    """
    shown = without_remedies(study)
    plot, axes = figure(theme, height=5.6)
    axis = axes[0, 0]
    _limits(axis, shown)
    axis.axhline(0, color=theme.muted, linewidth=1)
    axis.axvline(0, color=theme.muted, linewidth=1)
    _name_quadrants(axis, theme)
    style = group_looks(study)
    for group, image, video in shown:
        look = style[group.label]
        x, y = 100 * image.mean, 100 * video.mean
        for seed in _seed_points(study, group):
            axis.plot(*seed, look.marker, color=look.colour, alpha=0.4, markersize=5, mew=0)
        arrow = {"arrowstyle": "-|>", "color": look.colour, "alpha": 0.35, "shrinkB": 6}
        axis.annotate("", (x, y), xytext=(0, 0), arrowprops=arrow, zorder=2)
        error_bars(axis, x, y, look.colour, x=image, y=video)
        axis.plot(x, y, look.marker, mec=theme.paper, zorder=5, **point_style(look))
    front = [(100 * x, 100 * y) for x, y in pareto_front(shown)]
    axis.plot(*zip(*front, strict=True), "--", color=theme.muted, lw=1.2, zorder=1)
    _label(axis, shown, {group.label: style[group.label].colour for group, *_ in shown}, theme)
    asked = {
        modality: of_questions(*compare.questions(study, compare.of_modality(study, modality)))
        for modality in compare.PLANE
    }
    axis.set_xlabel(f"change on images over the base (points, {asked['image']})")
    axis.set_ylabel(f"change on videos over the base (points, {asked['video']})")
    return plot


def pareto_front(shown: Sequence[Point]) -> list[tuple[float, float]]:
    """(change on images, change on videos) of the models, the base at (0, 0) among them, that no
    other one is at least as good as on both: from the best on images to the best on videos.

    Of means alone: neighbours on it may differ by less than noise."""
    means = {(0.0, 0.0), *((point.image.mean, point.video.mean) for point in shown)}
    front: list[tuple[float, float]] = []
    for x, y in sorted(means, key=lambda mean: (-mean[0], -mean[1])):
        if not front or y > front[-1][1]:
            front.append((x, y))
    return front


def _seed_points(study: Study, group: Group) -> list[tuple[float, float]]:
    if len(group.models) < 2:
        return []
    found = []
    for each in group.shown:
        image, video = (
            compare.gain(study, [each], compare.of_modality(study, modality))
            for modality in compare.PLANE
        )
        if image and video:
            found.append((100 * image.mean, 100 * video.mean))
    return found


def _limits(axis: Axes, shown: Sequence[Point]) -> None:
    axis.set_xlim(*_range([point.image for point in shown]))
    axis.set_ylim(*_range([point.video for point in shown]))


def _range(intervals: Sequence[Interval]) -> tuple[float, float]:
    """From the lowest to the highest end in percent, zero among them, with a margin."""
    ends = [end for i in intervals for end in (i.mean, i.low, i.high) if not math.isnan(end)]
    low, high = 100 * min(0.0, *ends), 100 * max(0.0, *ends)
    margin = max(0.14 * (high - low), 1.0)
    return low - margin, high + margin


def _name_quadrants(axis: Axes, theme: Theme) -> None:
    corners = {
        (0, 1): "video gained, images lost",
        (1, 1): "both gained",
        (0, 0): "both lost",
        (1, 0): "images gained, video lost",
    }
    x_low, x_high = axis.get_xlim()
    y_low, y_high = axis.get_ylim()
    for (right, top), text in corners.items():
        share_x = (x_high if right else -x_low) / (x_high - x_low)
        share_y = (y_high if top else -y_low) / (y_high - y_low)
        if share_x < 0.25 or share_y < 0.08:
            continue  # no room: the quadrant is nearly empty
        axis.annotate(
            text,
            (right, top),
            xycoords="axes fraction",
            xytext=(-6 if right else 6, -6 if top else 6),
            textcoords="offset points",
            ha="right" if right else "left",
            va="top" if top else "bottom",
            color=theme.muted,
            fontsize=9,
            style="italic",
        )


def _label(axis: Axes, shown: Sequence[Point], colours: Mapping[str, str], theme: Theme) -> None:
    """Writes each policy's name beside its point where it covers least of the others, and a line
    of the point's colour from the one to the other."""
    plot = axis.figure
    plot.canvas.draw()  # fixes the layout, so that texts can be measured
    taken = [box for _, image, video in shown for box in _cross(axis, image, video)]
    offsets = [(far * dx, far * dy, ha) for far in (1, 1.8, 2.6, 3.4) for dx, dy, ha in _BESIDE]
    inside = axis.get_window_extent()
    for group, image, video in shown:
        text = axis.annotate(
            group.label,
            (100 * image.mean, 100 * video.mean),
            xytext=(0, 0),
            textcoords="offset points",
            fontsize=10,
            color=theme.ink,
            fontweight="bold",
            arrowprops={"arrowstyle": "-", "color": colours[group.label], "shrinkB": 3, "lw": 1.5},
            path_effects=[withStroke(linewidth=2.5, foreground=theme.paper)],
        )
        best, least = offsets[0], math.inf
        for offset in offsets:
            box = _moved(text, offset)
            cost = sum(weight * _overlap(box, other) for other, weight in taken)
            cost += 5 * (box.width * box.height - _overlap(box, inside)) + 4 * math.hypot(
                *offset[:2]
            )
            if cost < least - 1:
                best, least = offset, cost
        taken.append((_moved(text, best), 5.0))


def _moved(text: Annotation, offset: tuple[float, float, str]) -> Bbox:
    """Puts a text where (dx, dy, alignment) says, and returns the pixels that it takes there,
    without its line."""
    dx, dy, ha = offset
    text.set(position=(dx, dy), ha=ha)
    text.get_window_extent()  # with its line; that puts it there
    return Text.get_window_extent(text)


def _cross(axis: Axes, image: Interval, video: Interval) -> list[tuple[Bbox, float]]:
    """The pixels that a point and its whiskers take, and how bad it is to cover them."""
    to_pixels = axis.transData.transform
    x, y = to_pixels((100 * image.mean, 100 * video.mean))
    boxes = [(Bbox([[x - 12, y - 12], [x + 12, y + 12]]), 5.0)]
    if not math.isnan(image.low):
        (left, _), (right, _) = to_pixels([(100 * image.low, 0), (100 * image.high, 0)])
        boxes.append((Bbox([[left, y - 2], [right, y + 2]]), 1.0))
    if not math.isnan(video.low):
        (_, low), (_, high) = to_pixels([(0, 100 * video.low), (0, 100 * video.high)])
        boxes.append((Bbox([[x - 2, low], [x + 2, high]]), 1.0))
    return boxes


def _overlap(a: Bbox, b: Bbox) -> float:
    width = min(a.x1, b.x1) - max(a.x0, b.x0)
    height = min(a.y1, b.y1) - max(a.y0, b.y0)
    return max(0.0, width) * max(0.0, height)
