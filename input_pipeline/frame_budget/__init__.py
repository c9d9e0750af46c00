"""A frame policy's spec and a question about a clip in, a number of frames and the reason out.

A spec is data (`canonical_spec`, `spec_hash`, `spec_label`); `make_policy` makes a `Policy` of it,
a pure function from a `BudgetQuery` to a `FrameBudget`. Models that some kinds ask come in as
`Tools`. Kinds and keys: docs/frame_budget.md.
"""

from input_pipeline.frame_budget.budget import (
    PREVIEW_PIXELS,
    BudgetQuery,
    FrameBudget,
    Policy,
    frames_within,
)
from input_pipeline.frame_budget.controls import CONTROLS, Clip, deal
from input_pipeline.frame_budget.judge import UNUSABLE
from input_pipeline.frame_budget.learned import names_predictor, with_predictors
from input_pipeline.frame_budget.policies import asked_budget, make_policy
from input_pipeline.frame_budget.spec import (
    canonical_spec,
    check_multiples,
    most_frames,
    needs_model,
    resolve_spec,
    spec_hash,
    spec_label,
)
from input_pipeline.frame_budget.summary import budget_lines, budget_summary
from input_pipeline.frame_budget.tools import ModelError, Refused, Tools

__all__ = [
    "CONTROLS",
    "PREVIEW_PIXELS",
    "UNUSABLE",
    "BudgetQuery",
    "Clip",
    "FrameBudget",
    "ModelError",
    "Policy",
    "Refused",
    "Tools",
    "asked_budget",
    "budget_lines",
    "budget_summary",
    "canonical_spec",
    "check_multiples",
    "deal",
    "frames_within",
    "make_policy",
    "most_frames",
    "names_predictor",
    "needs_model",
    "resolve_spec",
    "spec_hash",
    "spec_label",
    "with_predictors",
]
