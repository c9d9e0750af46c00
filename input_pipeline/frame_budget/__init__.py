"""How many frames each example gets: policies built from data, pure functions of the example."""

from input_pipeline.frame_budget.judge import UNUSABLE
from input_pipeline.frame_budget.policies import Policy, make_policy
from input_pipeline.frame_budget.query import (
    BudgetQuery,
    FrameBudget,
    FrameBudgetPolicy,
    capped,
)
from input_pipeline.frame_budget.spec import (
    canonical_spec,
    most_frames,
    needs_model,
    resolve_spec,
    spec_hash,
    spec_label,
)
from input_pipeline.frame_budget.summary import budget_lines, budget_summary
from input_pipeline.frame_budget.tools import ModelError, Refused, Tools

__all__ = [
    "UNUSABLE",
    "BudgetQuery",
    "FrameBudget",
    "FrameBudgetPolicy",
    "ModelError",
    "Policy",
    "Refused",
    "Tools",
    "budget_lines",
    "budget_summary",
    "canonical_spec",
    "capped",
    "make_policy",
    "most_frames",
    "needs_model",
    "resolve_spec",
    "spec_hash",
    "spec_label",
]
