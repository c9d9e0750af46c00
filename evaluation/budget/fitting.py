"""A predictor's weights: softmax regression through a small network, by full batches of Adam.

There are hundreds to some thousand labels and one to be told for each, so all of them make one
batch, and the result does not depend on their order but for the last bits. The penalty is that of a
normal prior over weights: it fades as labels grow.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from input_pipeline.frame_budget.learned import Features, Predictor
from input_pipeline.frame_budget.learned.features import BUCKETS, NUMBERS

# Set on rules that were planted in made-up questions (tests/evaluation/budget), and not since.
SETTINGS: Mapping[str, Any] = {
    "width": 8,  # of the table of words
    "hidden": 16,
    "penalty": 1.0,  # × squares of the weights, beside a sum over labels
    "rate": 0.02,
    "steps": 400,
    "seed": 0,
}
_LEAST_DEVIATION = 1e-3  # of a number that hardly varies

Weights = dict[str, jax.Array]


class Batch(NamedTuple):
    """What is fitted to. Q questions with G words and pairs in all.

    grams: int32[G] buckets, and rows: int32[G] the questions that they belong to. share: float[G],
    one over the grams of that question. numbers: float[Q, N], standardised. labels: int32[Q], which
    count is needed. weights: float[Q], 0 for what is held out.
    """

    grams: jax.Array
    rows: jax.Array
    share: jax.Array
    numbers: jax.Array
    labels: jax.Array
    weights: jax.Array


def fit(
    features: Sequence[Features],
    labels: Sequence[int],
    counts: Sequence[int],
    used: Sequence[bool] | np.ndarray | None = None,
) -> Predictor:
    """A predictor fitted to the questions that are `used`, by default all.

    labels: of each question the place in `counts` of its smallest sufficient budget. What is not
    used changes nothing, the standardisation of numbers included. Raises ValueError where nothing
    is used.
    """
    mask = np.ones(len(features), bool) if used is None else np.asarray(used, bool)
    if not mask.any():
        raise ValueError("no question to fit a predictor to")
    table = np.array([each.numbers for each in features], np.float64)
    mean = table[mask].mean(axis=0)
    deviation = np.maximum(table[mask].std(axis=0), _LEAST_DEVIATION)
    numbers = np.clip((table - mean) / deviation, -3.0, 3.0)
    start = initial(len(counts), np.bincount(np.asarray(labels)[mask], minlength=len(counts)))
    found = _descend(start, batch_of(features, numbers, labels, mask))
    arrays = {name: np.asarray(array, np.float32) for name, array in found.items()}
    arrays |= {"mean": mean.astype(np.float32), "deviation": deviation.astype(np.float32)}
    return Predictor(tuple(counts), arrays)


def batch_of(
    features: Sequence[Features],
    numbers: np.ndarray,
    labels: Sequence[int],
    used: np.ndarray,
) -> Batch:
    """numbers: float[Q, N], standardised. used: bool[Q]."""
    sizes = [len(each.grams) for each in features]
    grams = [gram for each in features for gram in each.grams]
    return Batch(
        jnp.asarray(grams, jnp.int32),
        jnp.asarray(np.repeat(np.arange(len(features)), sizes), jnp.int32),
        jnp.asarray(np.repeat(1.0 / np.maximum(sizes, 1), sizes), jnp.float32),
        jnp.asarray(numbers, jnp.float32),
        jnp.asarray(labels, jnp.int32),
        jnp.asarray(used, jnp.float32),
    )


def initial(counts: int, seen: np.ndarray) -> Weights:
    """Weights that say the shares of the labels to every question. A row of the table is zero until
    its word is met in training.

    counts: how many there are. seen: int[C], labels of each.
    """
    width, units = SETTINGS["width"], SETTINGS["hidden"]
    inputs = width + len(NUMBERS)
    draws = np.random.default_rng(SETTINGS["seed"]).normal(size=(inputs, units))
    shares = (seen + 1.0) / (seen.sum() + counts)
    return {
        "table": jnp.zeros((BUCKETS, width)),
        "hidden": jnp.asarray(draws / np.sqrt(inputs), jnp.float32),
        "hidden_bias": jnp.zeros(units),
        "out": jnp.zeros((units, counts)),
        "out_bias": jnp.asarray(np.log(shares), jnp.float32),
    }


def loss(weights: Weights, batch: Batch) -> jax.Array:
    """Mean over the questions used of −log p(what is needed), and the penalty over their number."""
    rows = weights["table"][batch.grams] * batch.share[:, None]
    words = jax.ops.segment_sum(rows, batch.rows, len(batch.labels))
    inputs = jnp.concatenate([words, batch.numbers], axis=1)
    hidden = jnp.tanh(inputs @ weights["hidden"] + weights["hidden_bias"])
    logits = hidden @ weights["out"] + weights["out_bias"]
    each = optax.softmax_cross_entropy_with_integer_labels(logits, batch.labels)
    squares = sum(jnp.sum(weights[name] ** 2) for name in ("table", "hidden", "out"))
    total = batch.weights.sum()
    return ((each * batch.weights).sum() + SETTINGS["penalty"] * squares) / total


@jax.jit
def _descend(weights: Weights, batch: Batch) -> Weights:
    steps = SETTINGS["steps"]
    optimizer = optax.adam(optax.cosine_decay_schedule(SETTINGS["rate"], steps))

    def step(state: tuple[Weights, Any], _: None) -> tuple[tuple[Weights, Any], None]:
        now, moments = state
        changes, moments = optimizer.update(jax.grad(loss)(now, batch), moments)
        return (optax.apply_updates(now, changes), moments), None

    (found, _), _ = jax.lax.scan(step, (weights, optimizer.init(weights)), None, steps)
    return found
