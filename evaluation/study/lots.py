"""Which cells of a study go together, so that several machines can share a study.

A lot is a model and all that is asked of it: cells that ask the same model in another way go with
the cell that trains it.
"""

from collections.abc import Sequence
from typing import NamedTuple

from evaluation.study.cells import Planned
from input_pipeline.errors import did_you_mean
from vsft_jax.errors import ConfigError


class Lot(NamedTuple):
    """cells: names, the one that has the model first. waits_for: the cell that has to be trained
    before, "" for none."""

    cells: tuple[str, ...]
    waits_for: str


def lots_of(planned: Sequence[Planned], undone: Sequence[Planned]) -> list[Lot]:
    """The lots of what is left to do, in the study's order.

    undone: those of the planned cells that lack something.
    """
    of: dict[str, list[str]] = {}
    for each in undone:
        of.setdefault((each.model_of or each.cell).name, []).append(each.cell.name)
    # What is trained from scratch or with overrides has to be there first.
    first = {each.cell.name for each in undone if each.cell.role == "base" and each.trains}
    starts = {each.cell.name: each.cell.start for each in planned}
    lots = []
    for model, names in of.items():
        start = starts[model]
        lots.append(Lot(tuple(names), start if start in first and model not in first else ""))
    return lots


def chosen(planned: Sequence[Planned], names: Sequence[str]) -> list[Planned]:
    """The cells with these names; all where none is named. Raises ConfigError for a name that no
    cell has."""
    if not names:
        return list(planned)
    known = [each.cell.name for each in planned]
    for name in names:
        if name not in known:
            raise ConfigError(
                f"--cell={name}: the study has no such cell{did_you_mean(name, known)}; "
                "--launch lists those that are left"
            )
    return [each for each in planned if each.cell.name in names]
