"""Remedies in a run: the start is kept with the checkpoint, and models mix with it."""

import jax
import numpy as np
import pytest

from tests.conftest import devices
from vsft_jax.checkpoints import Checkpoints
from vsft_jax.config import Run
from vsft_jax.errors import ConfigError
from vsft_jax.inference import load_model
from vsft_jax.parameters import flatten
from vsft_jax.train import make_trainer, train
from vsft_jax.train.remedies.pull import _pull

pytestmark = pytest.mark.usefixtures("one_device")


@pytest.fixture(scope="module")
def runs(shared_config, tmp_path_factory):
    """A model of one step, and one tuned from it with EWC: (config of the latter, base, tuned)."""
    base, tuned = tmp_path_factory.mktemp("base"), tmp_path_factory.mktemp("tuned")
    config = shared_config.copy_and_resolve_references()
    config.train.update(steps=1, checkpoint_every=1)
    with devices(1):
        train(Run(config, base))
        config.train.init_from = str(base)
        config.remedy.update(ewc=0.5, fisher_data="images", fisher_steps=1)
        train(Run(config, tuned))
    return config, base, tuned


def _params(config, workdir, **remedy):
    config = config.copy_and_resolve_references()
    config.remedy.update(**remedy)
    found = load_model(Run(config, workdir)).params
    return {name: np.asarray(x) for name, x in flatten(found).items()}


def test_a_checkpoint_holds_where_training_began_and_what_matters(runs):
    config, base, tuned = runs
    trainer = make_trainer(Run(config, tuned))
    checkpoints = Checkpoints(tuned, read_only=True)
    with jax.set_mesh(trainer.mesh):
        like = trainer.abstract_state
        saved = checkpoints.restore_optimizer({"opt_state": like.opt_state, "step": like.step})
    checkpoints.close()
    pull = _pull(saved["opt_state"])
    start = flatten(pull.start)
    for name, value in _params(config, base).items():
        np.testing.assert_array_equal(start[name], value)
    importance = np.concatenate([np.ravel(x) for x in jax.tree.leaves(pull.importance)])
    assert importance.min() >= 0 and np.isclose(importance.mean(), 1.0, rtol=1e-4)
    assert (importance > 0).any()


def test_between_the_start_and_the_tuned_model(runs):
    config, base, tuned = runs
    ends = [_params(config, workdir) for workdir in (base, tuned)]
    assert any((ends[0][name] != ends[1][name]).any() for name in ends[0])
    found = _params(config, tuned, interpolate=0.0)
    for name, value in ends[0].items():
        assert found[name].tobytes() == value.tobytes(), name
    assert all(
        x.tobytes() == ends[1][name].tobytes()
        for name, x in _params(config, tuned, interpolate=1.0).items()
    )
    for name, value in _params(config, tuned, interpolate=0.25).items():
        expected = ends[0][name] + 0.25 * (ends[1][name] - ends[0][name])
        np.testing.assert_allclose(value, expected, rtol=1e-6, atol=1e-8)


def test_a_model_without_a_start_cannot_be_mixed_with_it(runs):
    config, base, _ = runs
    fresh = config.copy_and_resolve_references()
    fresh.train.init_from = ""
    with pytest.raises(ConfigError, match="interpolate = 0.5: training began from fresh"):
        _params(fresh, base, interpolate=0.5)


def test_importance_is_of_a_training_set(shared_config, tmp_path):
    config = shared_config.copy_and_resolve_references()
    config.remedy.update(ewc=1.0, fisher_data="pictures")
    with pytest.raises(ConfigError, match="fisher_data = 'pictures'.* images, .*videos"):
        train(Run(config, tmp_path))
