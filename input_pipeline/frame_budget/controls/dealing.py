"""A policy's budgets for a data set, shuffled among its clips: each budget as often as before.

Drawing each clip's budget by itself matches a histogram up to chance: over 500 questions the mean
frames then miss those of the policy by 3 % and more, and two things differ at a time. Dealing
matches it exactly, in every data set by itself. It still is a pure function of one clip at a time:
clips lie on a line by their examples' ranks, and the data set's spec holds the places on the line
where one budget ends and the next begins.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from input_pipeline.frame_budget.budget import BudgetQuery
from input_pipeline.frame_budget.controls.drawing import RANKS, rank_of, row_for
from input_pipeline.frame_budget.instruction import instruction_demand
from input_pipeline.frame_budget.spec import canonical_spec, most_frames

CONTROLS = ("random_matched", "type_matched")
_REASONS = {
    "random_matched": "dealt at random",
    "type_matched": "dealt at random among questions of its kind",
}


class Clip(NamedTuple):
    """A clip of a data set under the policy that is controlled for.

    frames: that it has. shown: that the policy shows of it.
    """

    example_id: str
    instruction: str
    frames: int
    shown: int


def deal(control: Mapping[str, Any], clips: Iterable[Clip]) -> dict[str, Any]:
    """The spec of a control for one data set, of kind "dealt".

    control: "random_matched" shuffles among all clips of a length, so that a budget says nothing
    about the question; "type_matched" among those whose question is of the same kind too, as the
    rules of `instruction_demand` tell them, so that a budget says no more than the kind.
    clips: all of the data set, with the budgets of the policy `control["of"]`. Clips that have as
    many frames as that policy can give lie in one row, others in rows by their length, so that
    nothing is dealt that a clip does not have. Clips of one frame leave no choice.

    Raises ValueError where no clip is left.
    """
    control = canonical_spec(control)
    most = most_frames(control["of"])
    found: dict[str, dict[int, list[tuple[int, int]]]] = {}
    for clip in clips:
        if clip.frames > 1:
            rows = found.setdefault(_kind(control, clip.instruction), {})
            line = rows.setdefault(min(clip.frames, most), [])
            line.append((rank_of(control["seed"], clip.example_id), clip.shown))
    if not found:
        raise ValueError(f"frame budget: {control['kind']} found no video to deal budgets to")
    cuts = {
        kind: {str(frames): _cuts(rows[frames]) for frames in sorted(rows)}
        for kind, rows in sorted(found.items())
    }
    return canonical_spec({"kind": "dealt", "of": control, "cuts": cuts})


def dealt(spec: Mapping[str, Any], query: BudgetQuery) -> tuple[int, str]:
    """The budget of a clip of the data set that a spec of kind "dealt" was made for. Of a clip that
    was not there, that of its neighbours on the line."""
    control, cuts = spec["of"], spec["cuts"]
    kind = _kind(control, query.instruction)
    rows = cuts[kind if kind in cuts else next(iter(cuts))]
    rank = rank_of(control["seed"], query.example_id)
    line = rows[row_for(rows, query.media.frames)]
    frames = next(frames for end, frames in line if rank < end)
    return frames, _REASONS[control["kind"]]


def _kind(control: Mapping[str, Any], instruction: str) -> str:
    return instruction_demand(instruction).why if control["kind"] == "type_matched" else ""


def _cuts(line: list[tuple[int, int]]) -> list[list[int]]:
    """[[end, frames], …]: ranks below the first end get the first budget, and so on.

    line: (rank, frames shown) of clips. The clips of one example have one rank, and get one budget.
    """
    ranks = sorted(rank for rank, _ in line)
    budgets = sorted(shown for _, shown in line)
    changes = [i for i in range(1, len(line)) if budgets[i] != budgets[i - 1]]
    return [[ranks[i], budgets[i - 1]] for i in changes] + [[RANKS, budgets[-1]]]
