"""How many frames each example gets: policies built from data, pure functions of the example."""

from input_pipeline.frame_budget.policies import Policy, make_policy
from input_pipeline.frame_budget.query import BudgetQuery, FrameBudget, FrameBudgetPolicy
from input_pipeline.frame_budget.spec import (
    canonical_spec,
    resolve_spec,
    spec_hash,
    spec_label,
)

__all__ = [
    "BudgetQuery",
    "FrameBudget",
    "FrameBudgetPolicy",
    "Policy",
    "canonical_spec",
    "make_policy",
    "resolve_spec",
    "spec_hash",
    "spec_label",
]
