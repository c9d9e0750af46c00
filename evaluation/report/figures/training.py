"""Figures of training: loss curves, and how many frames each policy gives to its videos."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from evaluation.report import compare
from evaluation.report.figures.style import Theme, figure, group_looks, heading, legend, looks
from evaluation.report.read_study import Model, Study

_SMOOTH = 5  # logged steps in the running median that is drawn over the raw losses


def draw_loss(study: Study, theme: Theme) -> Figure:
    """Training loss against step: base models in one panel, fine-tuned ones in another."""
    bases = [model for model in study.models if model.is_base]
    panels: dict[str, Sequence[tuple[str, Sequence[Model]]]] = {
        "base": [("base", bases)],
        "fine-tuned": [(group.label, group.models) for group in compare.groups(study)],
    }
    curves = {
        title: {
            label: found
            for label, models in entries
            if (found := [np.array(losses(model)).T for model in models if losses(model)])
        }
        for title, entries in panels.items()
    }
    shown = {title: entries for title, entries in curves.items() if entries}
    widths = [1 if title == "base" else 2 for title in shown]
    plot, axes = figure(theme, height=3.6, columns=len(shown), width_ratios=widths)
    style = group_looks(study)
    for axis, (title, entries) in zip(axes[0], shown.items(), strict=True):
        for label, lines in entries.items():
            colour = style[label].colour if label in style else theme.ink
            for steps, values in lines:
                axis.plot(steps, values, color=colour, alpha=0.2, lw=0.8)
            common = sorted(set.intersection(*(set(steps) for steps, _ in lines)))
            mean = np.mean([values[np.isin(steps, common)] for steps, values in lines], axis=0)
            axis.plot(common, _running_median(mean), color=colour, lw=1.9, label=label)
        heading(axis, title, theme)
        axis.set_xlabel("step")
        axis.set_ylim(bottom=0)
        if title != "base":
            legend(axis, theme, loc="upper right")
    axes[0, 0].set_ylabel("loss (nats for each answer token)")
    return plot


def losses(model: Model) -> list[tuple[int, float]]:
    """(step, loss) of the logged steps whose loss is a finite number."""
    rows = [(int(row["step"]), row.get("loss")) for row in model.train]
    return [(step, float(loss)) for step, loss in rows if loss is not None and math.isfinite(loss)]


def total_frames(histogram: Mapping[str, int]) -> int:
    """Frames that the videos of a {frames: videos} histogram take together."""
    return sum(int(frames) * videos for frames, videos in histogram.items())


def _running_median(values: np.ndarray) -> np.ndarray:
    half = _SMOOTH // 2
    return np.array(
        [np.median(values[max(0, i - half) : i + half + 1]) for i in range(len(values))]
    )


def draw_budgets(study: Study, theme: Theme) -> Figure:
    """Share of the training videos that each policy gives each number of frames."""
    histograms = {
        policy: study.budgets[policy].histogram
        for policy in study.policies
        if policy in study.budgets and study.budgets[policy].histogram
    }
    shown = list(histograms)
    counts = sorted({int(frames) for histogram in histograms.values() for frames in histogram})
    columns = min(3, len(shown))
    rows = math.ceil(len(shown) / columns)
    plot, axes = figure(
        theme, height=0.4 + 2.1 * rows, rows=rows, columns=columns, sharex=True, sharey=True
    )
    style = looks(study.policies)
    for axis in axes.flat[len(shown) :]:
        axis.set_visible(False)
    for axis, policy in zip(axes.flat, shown, strict=False):
        histogram = histograms[policy]
        total = sum(histogram.values())
        shares = [100 * histogram.get(str(frames), 0) / total for frames in counts]
        axis.bar(range(len(counts)), shares, color=style[policy].colour, width=0.72)
        for x, share in enumerate(shares):
            if share:
                text = f"{share:.0f}" if share >= 1 else "<1"
                axis.text(x, share + 2, text, ha="center", fontsize=8.5, color=theme.muted)
        mean = f"mean {total_frames(histogram) / total:.1f} frames"
        heading(axis, f"{study.label(policy)}\n{mean} (n = {total:,})", theme)
        axis.set_xticks(range(len(counts)), [str(frames) for frames in counts])
        axis.set_ylim(0, 118)
        axis.set_yticks([0, 50, 100])
        axis.grid(axis="x", visible=False)
    for axis in axes[:, 0]:
        axis.set_ylabel("videos (%)")
    for axis in axes.flat[max(0, len(shown) - columns) : len(shown)]:
        axis.set_xlabel("frames")
        axis.tick_params(labelbottom=True)
    return plot
