"""What a study is made of, before any of it is run.

In: a study's `Run`. Out: the cells that it is made of and what they lack (`cells.py`), what their
training takes (`cost.py`), and in which lots other machines could do it (`lots.py`).
"""

from evaluation.study.cells import (
    Planned,
    Spec,
    base_of,
    cell_folder,
    check_unchanged,
    frame_policies,
    lacking,
    plan_cells,
    shared_paths,
    with_frames,
)
from evaluation.study.cost import Cost, cost_lines, costs_of
from evaluation.study.lots import Lot, chosen, lots_of

__all__ = [
    "Cost",
    "Lot",
    "Planned",
    "Spec",
    "base_of",
    "cell_folder",
    "check_unchanged",
    "chosen",
    "cost_lines",
    "costs_of",
    "frame_policies",
    "lacking",
    "lots_of",
    "plan_cells",
    "shared_paths",
    "with_frames",
]
