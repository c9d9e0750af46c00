"""Predictors with weights drawn at random, for tests of what is done with them."""

import numpy as np

from input_pipeline.frame_budget.learned.features import BUCKETS, NUMBERS
from input_pipeline.frame_budget.learned.predictor import Predictor


def drawn(counts=(2, 4, 8, 16), seed=0, about=None) -> Predictor:
    """Weights large enough that clips and questions get different budgets."""
    rng = np.random.default_rng(seed)
    width, units = 4, 6
    shapes = {
        "table": (BUCKETS, width),
        "hidden": (width + len(NUMBERS), units),
        "hidden_bias": (units,),
        "out": (units, len(counts)),
        "out_bias": (len(counts),),
    }
    arrays = {name: rng.normal(size=s).astype(np.float32) for name, s in shapes.items()}
    arrays["mean"] = rng.normal(size=len(NUMBERS)).astype(np.float32)
    arrays["deviation"] = np.full(len(NUMBERS), 2.0, np.float32)
    return Predictor(tuple(counts), arrays, about or {})
