"""The optimiser by itself: what its first moment is kept in, and the rates that are logged."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import default
from vsft_jax.train.optimizer import learning_rates, make_optimizer


def _component(path: str) -> str:
    return {"visual": "tower", "merger": "projector", "llm": "llm"}[path.split("/")[0]]


PARAMS = {top: {"kernel": jnp.ones((2, 3))} for top in ("visual", "merger", "llm")}


def _moments(config):
    state = make_optimizer(config.optimizer, 10, _component).init(PARAMS)
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
