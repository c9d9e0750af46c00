"""How figures look: one colour and marker for a policy everywhere, on light and dark paper."""

import dataclasses
import io
import math
from collections.abc import Sequence
from typing import Any

import matplotlib.colors as colours
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from evaluation.report import compare
from evaluation.report.read_study import FramePolicy, Study
from evaluation.statistics import Interval

WIDTH = 7.4  # inches
DPI = 150


@dataclasses.dataclass(frozen=True)
class Theme:
    """Colours of everything that is not data."""

    name: str
    paper: str
    ink: str
    muted: str
    grid: str


LIGHT = Theme("light", paper="#ffffff", ink="#1d2430", muted="#667080", grid="#e4e7ec")
DARK = Theme("dark", paper="#171b22", ink="#e6e9ee", muted="#98a2b3", grid="#2c333e")

# Fixed budgets are one quantity, so one hue that deepens; other policies are kinds of their own.
# Orange, green, purple and yellow are Okabe and Ito's, told apart under colour blindness.
_FIXED = ("#92c5e8", "#2468ad")
_ADAPTIVE = ("#d55e00", "#009e73", "#cc79a7", "#c99700")
_CONTROL = ("#8b8f97", "#b0a08a")
_ADAPTIVE_MARKERS = ("D", "^", "s", "P")
_CONTROL_MARKERS = ("X", "v")

GAIN_COLOURS = ("#a6611a", "#018571")  # loss, gain
SCORE_COLOUR = _FIXED[1]  # of the highest; one hue that deepens is told apart by everybody


@dataclasses.dataclass(frozen=True)
class Look:
    """Colour and marker of a policy."""

    colour: str
    marker: str


def looks(policies: Sequence[FramePolicy]) -> dict[FramePolicy, Look]:
    """One look for each policy of a study, whatever figure it is in."""
    found = {}
    ordered = sorted(set(policies), key=lambda policy: (policy.order, policy.key))
    fixed = [policy for policy in ordered if policy.is_fixed]
    controls = [policy for policy in ordered if policy.is_control]
    others = [policy for policy in ordered if not policy.is_fixed and not policy.is_control]
    ramp = colours.LinearSegmentedColormap.from_list("fixed", _FIXED)
    for i, policy in enumerate(fixed):
        position = i / (len(fixed) - 1) if len(fixed) > 1 else 0.6
        found[policy] = Look(colours.to_hex(ramp(position)), "o")
    for i, policy in enumerate(others):
        turn = i % len(_ADAPTIVE)
        found[policy] = Look(_ADAPTIVE[turn], _ADAPTIVE_MARKERS[(turn + i // len(_ADAPTIVE)) % 4])
    for i, policy in enumerate(controls):
        found[policy] = Look(_CONTROL[i % 2], _CONTROL_MARKERS[(i + i // 2) % 2])
    return found


def group_looks(study: Study) -> dict[str, Look]:
    """Looks of the study's groups by label: colour by policy; marker by policy, or by strategy
    where a policy has several that are no remedies of one another."""
    style, (plain, _) = looks(study.policies), compare.by_remedy(study)
    strategies = sorted({group.strategy for group in plain})
    markers = dict(zip(strategies, "oDs^vPX" * 9, strict=False)) if len(strategies) > 1 else {}
    return {
        group.label: Look(
            style[group.policy].colour, markers.get(group.strategy, style[group.policy].marker)
        )
        for group in compare.groups(study)
    }


def wrapped(label: str) -> str:
    """A long label in two lines."""
    return label.replace("(", "\n(", 1) if len(label) > 12 else label


def point_style(look: Look) -> dict[str, Any]:
    """Size and colour of a policy's point; a cross needs more of both to weigh the same."""
    cross = look.marker == "X"
    return {"color": look.colour, "markersize": 10 if cross else 8.5, "mew": 0.5 if cross else 1}


def figure(
    theme: Theme,
    height: float,
    rows: int = 1,
    columns: int = 1,
    *,
    sharex: bool = False,
    sharey: bool = False,
    width_ratios: Sequence[float] | None = None,
) -> tuple[Figure, np.ndarray]:
    """A figure of the report's width and its axes: Axes[rows, columns]. height: inches."""
    plot = Figure(figsize=(WIDTH, height), dpi=DPI, facecolor=theme.paper, layout="constrained")
    FigureCanvasAgg(plot)
    axes = plot.subplots(
        rows, columns, squeeze=False, sharex=sharex, sharey=sharey, width_ratios=width_ratios
    )
    for axis in axes.flat:
        _plain(axis, theme)
    return plot, axes


def _plain(axis: Axes, theme: Theme) -> None:
    axis.set_facecolor(theme.paper)
    for side, spine in axis.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(theme.grid)
    axis.tick_params(colors=theme.muted, labelsize=9, length=0)
    axis.set_axisbelow(True)
    axis.grid(True, color=theme.grid, linewidth=0.8)
    for text in (axis.xaxis.label, axis.yaxis.label):
        text.set(color=theme.ink, fontsize=10)


def heading(axis: Axes, text: str, theme: Theme) -> None:
    """A left-aligned title over one panel."""
    axis.set_title(text, loc="left", fontsize=10.5, color=theme.ink, fontweight="bold", pad=8)


def legend(axis: Axes, theme: Theme, **options: Any) -> None:
    """A frameless legend in the theme's ink. options: as `Axes.legend` takes them."""
    shown = axis.legend(frameon=False, fontsize=9, **options)
    for text in shown.get_texts():
        text.set_color(theme.ink)


def error_bars(
    axis: Axes,
    at_x: float,
    at_y: float,
    colour: str,
    *,
    x: Interval | None = None,
    y: Interval | None = None,
) -> None:
    """Whiskers of 95 % intervals (0..1) around a point in percent; none where none is known."""
    axis.errorbar(
        at_x,
        at_y,
        xerr=_whisker(x),
        yerr=_whisker(y),
        ecolor=colour,
        elinewidth=1.2,
        fmt="none",
        zorder=3,
    )


def _whisker(interval: Interval | None) -> np.ndarray | None:
    """float[2, 1]: how far the interval reaches below and above its mean, in percent."""
    if interval is None or math.isnan(interval.low):
        return None
    return 100 * np.array([[interval.mean - interval.low], [interval.high - interval.mean]])


def png(plot: Figure) -> bytes:
    """The figure as PNG; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    plot.savefig(buffer, format="png", facecolor=plot.get_facecolor(), metadata={"Software": None})
    return buffer.getvalue()
