"""Training on rows that devices share, from files to losses and to the model that is evaluated."""

import numpy as np

from tests.conftest import devices
from vsft_jax.config import Run
from vsft_jax.train import train
from vsft_jax.train.record import read_jsonl


def test_losses_do_not_depend_on_the_other_axes(shared_config, tmp_path):
    """The same slices of rows on two devices and on eight; between steps, and for evaluation, every
    device has rows of its own."""
    meshes = {"two": dict(fsdp=1), "eight": dict(data=2, fsdp=1, tensor=2)}
    losses, seen = {}, {}
    for count, (name, mesh) in zip((2, 8), meshes.items(), strict=True):
        config = shared_config.copy_and_resolve_references()
        config.train.update(steps=2, batch_rows=4, evaluate_every=2)
        config.mesh.update(context=2, **mesh)

        def evaluate(model, name=name):
            seen[name] = dict(model.mesh.shape)
            return {"found": 1.0}

        with devices(count):
            train(Run(config, tmp_path / name), evaluate)
        rows = read_jsonl(tmp_path / name / "train.jsonl")
        losses[name] = [row["loss"] for row in rows if "loss" in row]
    assert seen == {
        "two": {"data": 2, "context": 1, "fsdp": 1, "tensor": 1},
        "eight": {"data": 4, "context": 1, "fsdp": 1, "tensor": 2},
    }
    assert len(losses["two"]) == 2
    np.testing.assert_allclose(losses["eight"], losses["two"], rtol=2e-5)
