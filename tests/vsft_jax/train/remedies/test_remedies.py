"""Each remedy does to a gradient what it claims, by an independent computation."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from scipy.special import log_softmax

from configs import default
from tests.vsft_jax.test_lora import MESH, TINY, _arrays
from vsft_jax.lora import ModelBuilder
from vsft_jax.models.qwen2_5_vl import FAMILY as qwen2_5_vl
from vsft_jax.parameters import flatten
from vsft_jax.sharding import make_mesh
from vsft_jax.train.optimizer import make_optimizer
from vsft_jax.train.remedies import (
    Remedies,
    distill_loss,
    one_sided,
    pull_to_start,
    start_of,
)
from vsft_jax.train.remedies.fisher import _added
from vsft_jax.train.remedies.projection import inner
from vsft_jax.train.remedies.pull import with_importance
from vsft_jax.train.step import Trainer

pytestmark = pytest.mark.usefixtures("one_device")


def _tree(seed):
    rng = np.random.default_rng(seed)
    return {"a": rng.normal(size=(3, 4)).astype("f"), "b": {"c": rng.normal(size=5).astype("f")}}


def _flat(tree):
    return np.concatenate([np.ravel(x) for x in jax.tree.leaves(tree)]).astype(np.float64)


# ── One-sided projection. ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("seed", range(20))
def test_the_projected_gradient_is_never_against_the_pictures(seed):
    clips, pictures = _tree(seed), _tree(seed + 100)
    found, c, p = _flat(one_sided(clips, pictures)), _flat(clips), _flat(pictures)
    if c @ p >= 0:
        np.testing.assert_array_equal(found, c)
    else:
        assert abs(found @ p) < 1e-5 * np.linalg.norm(found) * np.linalg.norm(p)
        # The nearest point of the half space: least squares on the one constraint.
        np.testing.assert_allclose(found, c - (c @ p) / (p @ p) * p, rtol=1e-4, atol=1e-6)


def test_without_pictures_nothing_is_projected():
    clips = _tree(0)
    nothing = jax.tree.map(np.zeros_like, clips)
    np.testing.assert_array_equal(_flat(one_sided(clips, nothing)), _flat(clips))


# ── A pull to the start. ────────────────────────────────────────────────────────────────────────


def test_the_pull_is_the_gradient_of_a_weighted_distance():
    start, params, importance = _tree(0), _tree(1), jax.tree.map(np.abs, _tree(2))

    def penalty(params):
        parts = jax.tree.map(
            lambda p, s, f: 0.5 * jnp.sum((0.3 + 2.0 * f) * (p - s) ** 2), params, start, importance
        )
        return sum(jax.tree.leaves(parts))

    pull = pull_to_start(0.3, 2.0)
    state = with_importance(pull.init(start), importance)
    grads, after = pull.update(_tree(3), state, params)
    expected = jax.tree.map(jnp.add, _tree(3), jax.grad(penalty)(params))
    np.testing.assert_allclose(_flat(grads), _flat(expected), rtol=1e-5)
    np.testing.assert_array_equal(_flat(after.start), _flat(start))
    assert np.linalg.norm(_flat(pull.update(_tree(3), state, start)[0]) - _flat(_tree(3))) == 0


def test_the_start_is_found_in_an_optimisers_state():
    whole = optax.chain(pull_to_start(0.0, 0.0), optax.adam(1e-3))
    params = _tree(0)
    state = whole.init(params)
    grads, state = whole.update(_tree(1), state, params)
    np.testing.assert_array_equal(_flat(start_of(state)), _flat(params))
    plain, _ = optax.adam(1e-3).update(_tree(1), optax.adam(1e-3).init(params), params)
    np.testing.assert_array_equal(_flat(grads), _flat(plain))


# ── Distillation. ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("chunk", [3, 7, 64])
def test_distillation_is_the_divergence_from_the_start(chunk):
    rng = np.random.default_rng(0)
    kernel, start_kernel = rng.normal(size=(2, 6, 11)).astype("f")
    hidden, start_hidden = rng.normal(size=(2, 2, 7, 6)).astype("f")
    weights = (rng.uniform(size=(2, 7)) < 0.6).astype("f")
    targets = rng.integers(0, 11, (2, 7))
    found = distill_loss(kernel, hidden, start_kernel, start_hidden, targets, weights, chunk)
    ours = log_softmax((hidden @ kernel).astype(np.float64), axis=-1)
    kept = log_softmax((start_hidden @ start_kernel).astype(np.float64), axis=-1)
    each = (np.exp(kept) * (kept - ours)).sum(-1)
    np.testing.assert_allclose(found.loss, (weights * each).sum(), rtol=1e-5)
    assert found.weight == weights.sum()
    assert found.correct == (weights * (ours.argmax(-1) == targets)).sum()
    slope = jax.grad(
        lambda h: distill_loss(kernel, h, kernel, hidden, targets, weights, chunk).loss
    )(hidden)
    np.testing.assert_allclose(slope, 0.0, atol=1e-6)  # nothing to learn where nothing has changed


# ── In a step. ──────────────────────────────────────────────────────────────────────────────────


def _trainer(accumulate=1, **remedies):
    config = default.get_config()
    config.optimizer.update(warmup_steps=0, weight_decay=0.0, clip_norm=1e9)
    for part in config.optimizer.learning_rate:
        config.optimizer.learning_rate[part] = 1e-2
    chosen = Remedies(**remedies)
    build = ModelBuilder(qwen2_5_vl, TINY)
    mesh = make_mesh(MESH)
    like = flatten(nnx.eval_shape(lambda: nnx.split(build())[1]))
    optimizer = make_optimizer(config.optimizer, qwen2_5_vl.component_of, chosen)
    rules = tuple(qwen2_5_vl.partition_rules())
    return Trainer(build, frozenset(like), optimizer, 10, rules, mesh, accumulate, remedies=chosen)


@functools.cache
def _batch():
    """Two rows about a clip and two about pictures that want other answers to the same."""
    arrays = _arrays(rows=4)
    for name in ("tokens", "patches"):
        arrays[name][2:] = arrays[name][:2]
    arrays["targets"][2:] = (arrays["targets"][:2] + 7) % 46
    arrays["clips"] = np.zeros((4, 24), bool)
    arrays["clips"][:2] = True
    return {name: jnp.asarray(x) for name, x in arrays.items()}


def _rows(which):
    return {name: x[which] for name, x in _batch().items()}


def test_a_step_that_projects_agrees_with_the_pictures_gradient():
    plain = _trainer()
    state = plain.init()
    mean = jax.jit(lambda rows: plain._step_gradient(state, rows)[0])
    clips, pictures = mean(_rows(slice(0, 2))), mean(_rows(slice(2, 4)))
    assert float(inner(clips, pictures)) < 0, "a batch in conflict"
    for accumulate in (1, 2):
        trainer = _trainer(accumulate, project=True)
        # Microbatches take every second row, so each has both kinds.
        found, (sums, _) = jax.jit(trainer._step_gradient)(state, _batch())
        norms = float(jnp.sqrt(inner(found, found) * inner(pictures, pictures)))
        assert float(inner(found, pictures)) >= -1e-5 * norms
        assert float(sums.weight) == 4 * 24
        expected = _flat(one_sided(clips, pictures))
        np.testing.assert_allclose(_flat(found), expected, rtol=1e-3, atol=1e-6)


def test_a_step_that_distils_learns_from_clips_alone_at_the_start():
    """There the pictures' divergence is zero and flat; later it holds the model back."""
    trainer = _trainer(distill=2.0)
    state = trainer.init()
    found, (sums, _) = jax.jit(trainer._step_gradient)(state, _batch())
    plain = jax.jit(_trainer()._step_gradient)
    alone, (of_clips, _) = plain(state, _rows(slice(0, 2)))
    np.testing.assert_allclose(_flat(found), _flat(alone) / 2, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(sums.loss, of_clips.loss, rtol=1e-5)
    moved = dataclasses.replace(state, trainable=jax.tree.map(lambda x: x * 1.05, state.trainable))
    _, (later, _) = jax.jit(trainer._step_gradient)(moved, _batch())
    _, (without, _) = plain(moved, _rows(slice(0, 2)))
    assert float(later.loss) > float(without.loss)


def test_importance_is_the_squared_gradient_of_each_row():
    trainer = _trainer(ewc=1.0)
    state = trainer.init()
    zero = jax.tree.map(jnp.zeros_like, state.trainable)
    found = jax.jit(lambda rows: _added(trainer, zero, state, rows))(_rows(slice(2, 4)))
    mean = jax.jit(lambda rows: _trainer()._step_gradient(state, rows)[0])
    expected = sum(_flat(mean(_rows(slice(i, i + 1)))) ** 2 for i in (2, 3))
    np.testing.assert_allclose(_flat(found), expected, rtol=1e-3, atol=1e-9)
