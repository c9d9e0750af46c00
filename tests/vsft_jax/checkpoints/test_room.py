"""A disk that is too full for a checkpoint is told before anything is computed for one."""

import collections
import shutil

import jax
import jax.numpy as jnp
import pytest

from vsft_jax.checkpoints import CheckpointError, check_room
from vsft_jax.config import Run
from vsft_jax.train import loop, train

_Usage = collections.namedtuple("_Usage", "total used free")


def _free(monkeypatch, room):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: _Usage(room, 0, room))


def test_room_for_a_checkpoint(tmp_path, monkeypatch):
    values = {"a": jax.ShapeDtypeStruct((1000, 1000), jnp.float32), "b": jnp.zeros(3)}
    folder = tmp_path / "run" / "checkpoints"  # not there yet
    _free(monkeypatch, 4_100_000)
    check_room(folder, values)
    _free(monkeypatch, 2_000_000)
    with pytest.raises(CheckpointError) as caught:
        check_room(folder, values)
    assert str(caught.value) == (
        f"{folder}: a checkpoint of this run takes about 0.004 GB, and the disk has 0.002 GB left: "
        "make room, or take another --workdir"
    )
    check_room("gs://bucket/run/checkpoints", values)


def test_a_training_asks_first(shared_config, one_device, tmp_path, monkeypatch):
    _free(monkeypatch, 1000)
    monkeypatch.setattr(loop, "initial_state", None)  # would load or compute parameters
    with pytest.raises(CheckpointError, match="a checkpoint of this run takes about"):
        train(Run(shared_config, tmp_path))
