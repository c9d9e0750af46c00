"""The optimiser by itself: what its first moment is kept in, and the rates that are logged."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import default
from vsft_jax.train.optimizer import learning_rates, make_optimizer, schedule


def _component(path: str) -> str:
    return {"visual": "tower", "merger": "projector", "llm": "llm"}[path.split("/")[0]]


PARAMS = {top: {"kernel": jnp.ones((2, 3))} for top in ("visual", "merger", "llm")}


def _moments(config):
    state = make_optimizer(config.optimizer, _component).init(PARAMS)
    found = {"mu": set(), "nu": set()}
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        for name in found.keys() & {getattr(key, "name", "") for key in path}:
            found[name].add(leaf.dtype.name)
    return found


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_first_moment_is_kept_as_the_config_says(dtype):
    config = default.get_config()
    config.optimizer.mu_dtype = dtype
    assert _moments(config) == {"mu": {dtype}, "nu": {"float32"}}


def test_logged_rates_are_those_of_the_schedule():
    config = default.get_config()
    config.train.steps = 20
    config.optimizer.update(warmup_steps=4, final_fraction=0.1)
    config.optimizer.learning_rate.update(tower=0.0, projector=1e-3, llm=1e-4)
    rates = learning_rates(config)
    assert rates.keys() == {"learning_rate/projector", "learning_rate/llm"}, (
        "what is frozen has none"
    )
    llm = [rates["learning_rate/llm"](step) for step in range(21)]
    np.testing.assert_allclose(llm[:5], [0, 0.25e-4, 0.5e-4, 0.75e-4, 1e-4], rtol=1e-6)
    assert all(a > b for a, b in zip(llm[4:], llm[5:], strict=False))
    assert llm[20] == pytest.approx(1e-5)


def _rate(peak, config, steps):
    """The schedule in optax's own words, with steps that are compiled in."""
    warmup = min(config.warmup_steps, max(steps - 1, 0))
    return optax.warmup_cosine_decay_schedule(
        init_value=0.0 if warmup else peak,
        peak_value=peak,
        warmup_steps=warmup,
        decay_steps=max(steps, warmup + 1),
        end_value=peak * config.final_fraction,
    )


@pytest.mark.parametrize("steps", [1, 2, 30, 31, 1000])
def test_rates_are_those_of_optax_bit_for_bit(steps):
    config = default.get_config().optimizer
    places = jnp.arange(steps + 3)
    for peak in (1e-5, 2e-6, 3e-4):
        expected = jnp.broadcast_to(_rate(peak, config, steps)(places), places.shape)
        np.testing.assert_array_equal(schedule(peak, config, jnp.int32(steps))(places), expected)


def _optax(config, steps):
    def adamw(part):
        rate = _rate(config.learning_rate[part], config, steps)
        mask = {top: {"kernel": True, "bias": False} for top in PARAMS}
        return optax.adamw(rate, config.b1, config.b2, config.eps, weight_decay=0.1, mask=mask)

    parts = {"visual": "tower", "merger": "projector", "llm": "llm"}
    return optax.chain(
        optax.clip_by_global_norm(config.clip_norm),
        optax.multi_transform(
            {part: adamw(part) for part in parts.values()},
            {top: dict.fromkeys(("kernel", "bias"), part) for top, part in parts.items()},
        ),
    )


def test_updates_are_those_of_optax_and_steps_compile_nothing_anew():
    config = default.get_config().optimizer
    config.update(weight_decay=0.1, warmup_steps=3)
    ours = make_optimizer(config, _component)
    rng = np.random.default_rng(0)
    start = {top: {"kernel": rng.normal(size=(2, 3)), "bias": rng.normal(size=3)} for top in PARAMS}
    start = jax.tree.map(jnp.float32, start)

    @jax.jit
    def update(grads, state, params, steps):
        return ours.update(grads, state, params, steps=steps)

    for steps in (1, 2, 3, 4, 9):
        theirs = _optax(config, steps)
        reference = jax.jit(theirs.update)
        state, expected_state = ours.init(start), theirs.init(start)
        for _ in range(steps + 2):
            grads = jax.tree.map(lambda x: jnp.float32(rng.normal(size=x.shape)), start)
            expected, expected_state = reference(grads, expected_state, start)
            found, state = update(grads, state, start, jnp.int32(steps))
            # But for what the compiler does with constants, such as multiplying by inverses.
            jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6), found, expected)
            jax.tree.map(np.testing.assert_array_equal, state, expected_state)
    assert update._cache_size() == 1
