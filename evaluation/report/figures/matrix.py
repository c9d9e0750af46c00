"""The figure of models under the frames of others: what was trained against what is shown."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from evaluation.report import compare
from evaluation.report.compare import Shown, Slice
from evaluation.report.figures.style import SCORE_COLOUR, Theme, figure, heading
from evaluation.report.read_study import FramePolicy, Model, Study
from evaluation.report.wording import of_questions, percent, plural
from evaluation.statistics import Interval

_LARGE = 13  # points: a phone shows the figure at a third of its size
_SHARE = 0.6  # of the way to the full colour, so that ink can be read on it


@dataclasses.dataclass(frozen=True)
class Grid:
    """Scores of models (rows) under frame policies (columns).

    names: of the rows. trained: what each was trained with, None for a base. scores: None where a
    model was not asked.
    """

    names: tuple[str, ...]
    trained: tuple[FramePolicy | None, ...]
    policies: tuple[FramePolicy, ...]
    scores: tuple[tuple[Interval | None, ...], ...]

    @property
    def asked_otherwise(self) -> bool:
        """Whether a fine-tuned model was shown other frames than those it was trained with."""
        return any(
            score and trained and policy != trained
            for trained, row in zip(self.trained, self.scores, strict=True)
            for policy, score in zip(self.policies, row, strict=True)
        )

    def without_frames(self) -> "Grid":
        """The same of what no frame policy reaches: one column, whatever was shown."""
        firsts = tuple((next((s for s in row if s), None),) for row in self.scores)
        return dataclasses.replace(self, policies=(), scores=firsts)


def grid(study: Study, rows: Sequence[compare.Group], which: Slice) -> Grid:
    """The base and some groups under every frame policy that any of them was asked with."""
    bases = [model for model in study.models if model.is_base]
    of: list[tuple[str, FramePolicy | None, Sequence[Model]]] = [
        *((model.cell.name, None, [model]) for model in bases),
        *((group.label, group.policy, group.models) for group in rows),
    ]
    names, trained, members = zip(*of, strict=True) if of else ((), (), ())
    asked = {
        policy
        for models in members
        for model in models
        for policy, each in model.evaluations.items()
        if each.results.keys() & set(which.benchmarks)
    }
    policies = tuple(sorted(asked, key=lambda policy: policy.order))
    scores = tuple(
        tuple(compare.score(study, [Shown(model, p) for model in models], which) for p in policies)
        for models in members
    )
    return Grid(names, trained, policies, scores)


def grids(study: Study) -> dict[str, Grid]:
    """What is drawn, by modality: models without a remedy. None where each was shown its own
    frames alone."""
    plain, _ = compare.by_remedy(study)
    videos = grid(study, plain, compare.of_modality(study, "video"))
    if not videos.asked_otherwise:
        return {}
    others = {each: compare.of_modality(study, each) for each in ("image", "text")}
    found = {
        modality: grid(study, plain, which).without_frames()
        for modality, which in others.items()
        if which.benchmarks
    }
    found = {name: each for name, each in found.items() if any(row[0] for row in each.scores)}
    return {**found, "video": videos}


def draw_matrix(study: Study, theme: Theme) -> Figure:
    """Models (rows) by the frames that they were shown (columns), scores in percent; pictures and
    text, which have no frames, in columns beside. Deeper is higher, within a panel. Outlined: what
    a model was trained with. Hatched: not asked."""
    shown = grids(study)
    widths = [len(each.scores[0]) for each in shown.values()]
    rows = len(shown["video"].names)
    plot, axes = figure(
        theme, height=1.7 + 0.42 * rows, columns=len(shown), sharey=True, width_ratios=widths
    )
    for axis, (modality, each) in zip(axes[0], shown.items(), strict=True):
        _panel(axis, each, theme)
        which = compare.of_modality(study, modality)
        asked = of_questions(*compare.questions(study, which))
        heading(axis, plural(modality), theme)
        axis.title.set_fontsize(_LARGE)
        below = f"frames shown, {asked}; cells: score (%)" if each.policies else asked
        axis.set_xlabel(below, fontsize=_LARGE - 2)
        names = [_column(study, policy) for policy in each.policies] or ["any"]
        axis.set_xticks(range(len(names)), names)
        for label in axis.get_xticklabels():
            if len(label.get_text()) > 3:
                label.set(rotation=35, ha="right", rotation_mode="anchor")
    axes[0, 0].set_yticks(range(rows), shown["video"].names)
    axes[0, 0].set_ylabel("trained with", fontsize=_LARGE - 2)
    for axis in axes[0]:
        axis.tick_params(labelcolor=theme.ink, labelsize=_LARGE - 1)
    return plot


def _column(study: Study, policy: FramePolicy) -> str:
    return str(policy.spec["frames"]) if policy.is_fixed else study.label(policy)


def _panel(axis: Axes, shown: Grid, theme: Theme) -> None:
    means = np.array([[np.nan if s is None else s.mean for s in row] for row in shown.scores])
    low, high = np.nanmin(means), np.nanmax(means)
    scale = LinearSegmentedColormap.from_list("score", (theme.paper, SCORE_COLOUR))
    axis.imshow(
        means,
        cmap=scale,
        vmin=low - 0.1 * (high - low),
        vmax=low + max(high - low, 0.01) / _SHARE,
        aspect="auto",
    )
    for row, column in np.ndindex(means.shape):
        score = shown.scores[row][column]
        corner = (column - 0.5, row - 0.5)
        own = bool(shown.policies) and shown.policies[column] == shown.trained[row]
        if score is None:
            axis.add_patch(Rectangle(corner, 1, 1, fill=False, hatch="///", ec=theme.grid, lw=0))
        if own:
            inside = (corner[0] + 0.04, corner[1] + 0.04)
            axis.add_patch(
                Rectangle(inside, 0.92, 0.92, fill=False, ec=theme.ink, lw=1.8, zorder=4)
            )
        axis.text(
            *(column, row, "–" if score is None else percent(score.mean)),
            ha="center",
            va="center",
            fontsize=_LARGE if means.shape[1] <= 8 else _LARGE - 4,
            color=theme.muted if score is None else theme.ink,
            fontweight="bold" if own else "normal",
        )
    axis.grid(visible=False)
    axis.spines[:].set_visible(False)
    axis.set_xticks(np.arange(0.5, means.shape[1] - 1), minor=True)
    axis.set_yticks(np.arange(0.5, means.shape[0] - 1), minor=True)
    axis.grid(which="minor", color=theme.paper, linewidth=2)
    axis.tick_params(which="minor", length=0)
