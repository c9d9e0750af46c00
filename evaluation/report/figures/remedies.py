"""The figure of remedies: what each keeps on images, and what it costs elsewhere."""

import math

from matplotlib.figure import Figure

from evaluation.report import compare
from evaluation.report.compare import Group
from evaluation.report.figures.style import (
    Theme,
    error_bars,
    figure,
    group_looks,
    heading,
    point_style,
)
from evaluation.report.read_study import Study
from evaluation.report.wording import of_questions, plural
from evaluation.statistics import Interval


def rows(study: Study) -> list[tuple[Group, dict[str, Interval | None]]]:
    """Groups with a remedy, and those of the same policies without: (group, change over the base by
    modality), best on images first. Empty where there is no remedy, or none is answered."""
    plain, treated = compare.by_remedy(study)
    policies = {group.policy for group in treated}
    found = []
    for group in [*treated, *(group for group in plain if group.policy in policies)]:
        changes = {
            modality: compare.gain(study, group.shown, compare.of_modality(study, modality))
            for modality in compare.modalities(study)
        }
        if any(changes.values()):
            found.append((group, changes))
    ordered = sorted(found, key=lambda row: -_mean(row[1]["image"]))
    return ordered if any(group in treated for group, _ in ordered) else []


def _mean(change: Interval | None) -> float:
    return -math.inf if change is None else change.mean


def draw(study: Study, theme: Theme) -> Figure:
    """Change over the base in points, a row for each remedy and a panel for each modality; hollow
    marks and dashed lines are the policies without a remedy."""
    shown = rows(study)
    kinds = compare.modalities(study)
    treated = {group.label for group in compare.by_remedy(study)[1]}
    style = group_looks(study)
    plot, axes = figure(theme, height=1.2 + 0.3 * len(shown), columns=len(kinds), sharey=True)
    for axis, modality in zip(axes[0], kinds, strict=True):
        axis.axvline(0, color=theme.muted, lw=1)
        for row, (group, changes) in enumerate(shown):
            change, look = changes[modality], style[group.label]
            if change is None:
                continue
            x, remedy = 100 * change.mean, group.label in treated
            error_bars(axis, x, row, look.colour, x=change)
            face = {} if remedy else {"mfc": theme.paper, "mec": look.colour, "mew": 2}
            axis.plot(x, row, look.marker, zorder=5, **{**point_style(look), **face})
            if not remedy:
                axis.axvline(x, color=look.colour, ls="--", lw=1, alpha=0.7)
        asked = of_questions(*compare.questions(study, compare.of_modality(study, modality)))
        heading(axis, f"{plural(modality)} ({asked})", theme)
        axis.set_xlabel("change (points)")
        axis.grid(axis="y", visible=False)
    axes[0, 0].set_ylabel("frame policy and remedy")
    axes[0, 0].set_yticks(range(len(shown)), [group.label for group, _ in shown])
    axes[0, 0].tick_params(axis="y", labelsize=9.5, labelcolor=theme.ink)
    axes[0, 0].set_ylim(len(shown) - 0.4, -0.6)
    return plot
