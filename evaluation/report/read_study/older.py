"""Studies from before cell.json and index_summary.json held frame policies as specs.

Those files name a policy by its label. The specs stand in the result files, which lie in folders
of that name.
"""

from collections.abc import Mapping
from typing import Any

_BUDGET_KEYS = ("histogram", "visual_tokens", "examples")

Specs = Mapping[str, Mapping[str, Any]]  # by label


def cell_record(record: Mapping[str, Any], specs: Specs) -> dict[str, Any] | None:
    """A cell.json as it is written now; None where no result tells the spec of its policy."""
    if "frames" not in record:
        return dict(record)
    label = record["frames"]
    if label is not None and label not in specs:
        return None
    kept = {key: value for key, value in record.items() if key != "frames"}
    return {"config": {}, "config_hash": "", **kept, "frame_policy": specs.get(label)}


def index_record(record: Mapping[str, Any], specs: Specs) -> dict[str, Any]:
    """An index_summary.json as it is written now, with the budgets whose policy is known."""
    budgets = record.get("budgets")
    if not isinstance(budgets, dict):
        return dict(record)
    known = [
        {
            "frame_policy": specs[label],
            **{key: budget[key] for key in _BUDGET_KEYS if key in budget},
        }
        for label, budget in budgets.items()
        if label in specs
    ]
    return {**record, "budgets": known}
