"""Budgets by a small model that was fitted to what another model needed: kind "learned".

features.py   a question about a clip as numbers
predictor.py  from those to the probability that a number of frames suffices; its file
policy.py     from that to a budget

What fits one is `evaluation.budget`; nothing here imports JAX.
"""

from input_pipeline.frame_budget.learned.features import Features, features_of
from input_pipeline.frame_budget.learned.policy import learned, names_predictor, with_predictors
from input_pipeline.frame_budget.learned.predictor import (
    Predictor,
    PredictorError,
    budget_at,
    digest,
    load,
    read,
)

__all__ = [
    "Features",
    "Predictor",
    "PredictorError",
    "budget_at",
    "digest",
    "features_of",
    "learned",
    "load",
    "names_predictor",
    "read",
    "with_predictors",
]
