"""Figures of scores: base against tuned, by task and by frame budget."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from evaluation.report import compare
from evaluation.report.compare import Group, Slice
from evaluation.report.figures.style import (
    GAIN_COLOURS,
    Look,
    Theme,
    error_bars,
    figure,
    group_looks,
    heading,
    legend,
    point_style,
    wrapped,
)
from evaluation.report.read_study import Study
from evaluation.report.wording import of_questions, plural, signed, task_name

_MANY = 10  # columns, from which on there is no room for tenths
_Where = float | Sequence[float]  # a point, or nothing but an entry in the legend: []


def draw_scores(study: Study, theme: Theme) -> Figure:
    """Base (hollow) and tuned (filled) score of every policy, on images, on videos and, where it
    was asked about, on text."""
    shown = compare.groups(study)
    kinds = compare.modalities(study)
    plot, axes = figure(theme, height=1.5 + 0.4 * len(shown), columns=len(kinds), sharey=True)
    style = group_looks(study)
    for axis, modality in zip(axes[0], kinds, strict=True):
        which = compare.of_modality(study, modality)
        for row, group in enumerate(shown):
            base = compare.score(study, compare.base_shown(study, group), which)
            tuned = compare.score(study, group.shown, which)
            if base and tuned:
                ends = [100 * base.mean, 100 * tuned.mean]
                axis.plot(ends, [row, row], color=style[group.label].colour, lw=5, alpha=0.25)
            if tuned:
                _tuned_dot(axis, 100 * tuned.mean, row, style[group.label], theme)
                error_bars(axis, 100 * tuned.mean, row, style[group.label].colour, x=tuned)
            if base:
                _base_dot(axis, 100 * base.mean, row, theme)
        axis.axvline(100 * compare.chance(study, which), color=theme.muted, ls="--", lw=1.2)
        heading(
            axis, f"{plural(modality)} ({of_questions(*compare.questions(study, which))})", theme
        )
        axis.set_xlabel("score (%)")
        axis.grid(axis="y", visible=False)
    axes[0, 0].set_ylabel("frame policy")
    axes[0, 0].set_yticks(range(len(shown)), [group.label for group in shown])
    axes[0, 0].tick_params(axis="y", labelsize=10, labelcolor=theme.ink)
    axes[0, 0].set_ylim(len(shown) - 0.4, -0.6)
    _key(plot, axes[0, 1], theme)
    return plot


def draw_tasks(study: Study, theme: Theme) -> Figure:
    """Change over the base for each task (rows) and policy without a remedy (columns), in points.

    A dagger marks a change over a base that guessing beats.
    """
    return _draw_tasks(study, compare.by_remedy(study)[0], theme)


def draw_remedies_tasks(study: Study, theme: Theme) -> Figure:
    """As `draw_tasks`, of the groups with a remedy, behind those that they are compared with."""
    plain, treated = compare.by_remedy(study)
    policies = {group.policy for group in treated}
    return _draw_tasks(study, [*(g for g in plain if g.policy in policies), *treated], theme)


def _draw_tasks(study: Study, shown: Sequence[Group], theme: Theme) -> Figure:
    benchmarks = compare.asked_benchmarks(study)
    rows = [(name, task) for name in benchmarks for task in compare.tasks(study, name)]
    gains = [
        [compare.gain(study, group.shown, Slice((name,), task)) for group in shown]
        for name, task in rows
    ]
    values = np.array([[math.nan if g is None else 100 * g.mean for g in row] for row in gains])
    limit = max([5.0, *np.abs(values[~np.isnan(values)])])
    many = len(shown) > _MANY
    header = 2.0 if many else 1.5 if len(shown) > 5 else 1.0
    plot, axes = figure(theme, height=header + 0.34 * len(rows))
    axis = axes[0, 0]
    loss_colour, gain_colour = GAIN_COLOURS
    scale = LinearSegmentedColormap.from_list("gain", (loss_colour, theme.paper, gain_colour))
    axis.imshow(values, cmap=scale, vmin=-1.4 * limit, vmax=1.4 * limit, aspect="auto")
    for row, column in np.ndindex(values.shape):
        gain = gains[row][column]
        sure = gain is not None and gain.excludes_zero
        name, task = rows[row]
        below = compare.base_below_chance(study, shown[column], Slice((name,), task)) is not None
        text = "·" if gain is None else signed(gain.mean, 0 if many else 1) + ("†" if below else "")
        axis.text(
            column,
            row,
            text,
            ha="center",
            va="center",
            fontsize=9.5 if len(shown) <= 8 else 8,
            color=theme.ink if sure else theme.muted,
            fontweight="bold" if sure else "normal",
        )
    longest = max((len(group.label) for group in shown), default=0)
    crowded = len(shown) > 6 or len(shown) * longest > 80
    slant: dict[str, Any] = {}
    if crowded:
        slant = {"rotation": 60 if many else 30, "ha": "left", "rotation_mode": "anchor"}
    names = [group.label if slant else wrapped(group.label) for group in shown]
    axis.set_xticks(range(len(shown)), names, **slant)
    axis.xaxis.tick_top()
    several = {m: list(study.benchmarks.values()).count(m) > 1 for m in compare.MODALITIES}
    names = []
    for name, task in rows:
        kind = name if several[study.benchmarks[name]] else study.benchmarks[name]
        asked = of_questions(*compare.questions(study, Slice((name,), task)))
        names.append(f"{task_name(task)} ({asked})  ·  {kind}")
    axis.set_yticks(range(len(rows)), names)
    axis.set_xlabel("frame policy; cells: change over the base (points)")
    axis.set_ylabel("task")
    axis.tick_params(labelcolor=theme.ink, labelsize=9.5)
    axis.grid(visible=False)
    axis.spines[:].set_visible(False)
    for row in range(1, len(rows)):
        if rows[row][0] != rows[row - 1][0]:
            axis.axhline(row - 0.5, color=theme.paper, linewidth=8)
    axis.set_xticks(np.arange(0.5, len(shown) - 1), minor=True)
    axis.set_yticks(np.arange(0.5, len(rows) - 1), minor=True)
    axis.grid(which="minor", color=theme.paper, linewidth=2)
    axis.tick_params(which="minor", length=0)
    return plot


def draw_frames(study: Study, theme: Theme) -> Figure:
    """Video score against the mean number of frames: base and fine-tuned under each policy."""
    plot, axes = figure(theme, height=4.2)
    axis = axes[0, 0]
    which = compare.of_modality(study, "video")
    style = group_looks(study)
    fixed: dict[str, list[tuple[float, float]]] = {"base": [], "tuned": []}
    ticks = set()
    for group in compare.groups(study):
        look = style[group.label]
        base = compare.score(study, compare.base_shown(study, group), which)
        tuned = compare.score(study, group.shown, which)
        frames = compare.mean_frames(group.shown)
        if tuned is None or math.isnan(frames):
            continue
        ticks.add(round(frames))
        for kind, interval in (("base", base), ("tuned", tuned)):
            if interval and group.policy.is_fixed:
                fixed[kind].append((frames, 100 * interval.mean))
        if base:
            ends = [100 * base.mean, 100 * tuned.mean]
            axis.plot([frames, frames], ends, color=look.colour, lw=5, alpha=0.25)
            _base_dot(axis, frames, 100 * base.mean, theme)
        error_bars(axis, frames, 100 * tuned.mean, look.colour, y=tuned)
        _tuned_dot(axis, frames, 100 * tuned.mean, look, theme, label=group.label)
    for points in filter(None, fixed.values()):
        axis.plot(*zip(*sorted(points), strict=True), color=theme.muted, alpha=0.5, lw=1, zorder=1)
    axis.axhline(100 * compare.chance(study, which), color=theme.muted, ls="--", lw=1.2)
    axis.set_xscale("log", base=2)
    axis.set_xticks(sorted(ticks), [str(tick) for tick in sorted(ticks)])
    axis.minorticks_off()
    axis.set_xlabel("mean frames in a video question (doubling scale)")
    axis.set_ylabel(f"video score (%, {of_questions(*compare.questions(study, which))})")
    _base_dot(axis, [], [], theme, label="base, same frames")
    axis.plot([], [], "--", color=theme.muted, lw=1.2, label="chance")
    legend(axis, theme, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return plot


def adaptive_groups(study: Study) -> list[Group]:
    """Groups whose policy showed questions with more than one number of frames."""
    return [g for g in compare.groups(study) if len(compare.frame_counts(study, g.shown)) > 1]


def draw_by_frames(study: Study, theme: Theme) -> Figure:
    """For policies that vary: score over the questions that got each number of frames."""
    shown = adaptive_groups(study)
    columns = min(3, len(shown))
    rows = math.ceil(len(shown) / columns)
    plot, axes = figure(theme, height=0.3 + 3.1 * rows, rows=rows, columns=columns, sharey=True)
    style = group_looks(study)
    for axis in axes.flat[len(shown) :]:
        axis.set_visible(False)
    for axis, group in zip(axes.flat, shown, strict=False):
        look = style[group.label]
        slices = compare.frame_counts(study, group.shown)
        names = []
        for x, which in enumerate(slices):
            base = compare.score(study, compare.base_shown(study, group), which)
            tuned = compare.score(study, group.shown, which)
            names.append(f"{which.frames}\nn = {tuned.n}" if tuned else f"{which.frames}")
            level = 100 * compare.chance(study, which)
            axis.plot([x - 0.4, x + 0.4], [level, level], color=theme.muted, ls="--", lw=1.2)
            if base:
                error_bars(axis, x - 0.12, 100 * base.mean, theme.muted, y=base)
                _base_dot(axis, x - 0.12, 100 * base.mean, theme)
            if tuned:
                error_bars(axis, x + 0.12, 100 * tuned.mean, look.colour, y=tuned)
                _tuned_dot(axis, x + 0.12, 100 * tuned.mean, look, theme)
        axis.set_xticks(range(len(names)), names)
        axis.set_xlim(-0.6, len(names) - 0.4)
        axis.grid(axis="x", visible=False)
        heading(axis, wrapped(group.label), theme)
        axis.set_xlabel("frames, questions")
    for axis in axes[:, 0]:
        axis.set_ylabel("video score (%)")
    _key(plot, axes.flat[0], theme)
    return plot


def _base_dot(axis: Axes, x: _Where, y: _Where, theme: Theme, label: str | None = None) -> None:
    axis.plot(
        x,
        y,
        "o",
        ls="",
        mfc=theme.paper,
        mec=theme.muted,
        ms=7,
        mew=1.6,
        zorder=4,
        label=label,
    )


def _tuned_dot(
    axis: Axes, x: _Where, y: _Where, look: Look, theme: Theme, label: str | None = None
) -> None:
    style = point_style(look)
    axis.plot(x, y, look.marker, ls="", mec=theme.paper, zorder=5, label=label, **style)


def _key(plot: Figure, axis: Axes, theme: Theme) -> None:
    """A legend below the panels of what hollow, filled and dashed mean."""
    _base_dot(axis, [], [], theme, label="base, same frames")
    _tuned_dot(axis, [], [], Look(theme.muted, "o"), theme, label="fine-tuned, 95 % interval")
    axis.plot([], [], "--", color=theme.muted, lw=1.2, label="chance")
    handles, names = axis.get_legend_handles_labels()
    shown = plot.legend(
        handles, names, loc="outside lower center", ncols=3, frameon=False, fontsize=9
    )
    for text in shown.get_texts():
        text.set_color(theme.ink)
