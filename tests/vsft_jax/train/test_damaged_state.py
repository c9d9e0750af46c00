"""Runs whose workdir was damaged between two starts, and folders that others work in."""

import contextlib
import shutil

import jax.numpy as jnp
import pytest

from tests.conftest import devices
from vsft_jax.checkpoints import CheckpointError, Checkpoints
from vsft_jax.config import Run
from vsft_jax.inference import load_model
from vsft_jax.parameters import flatten
from vsft_jax.prepare import prepare_all
from vsft_jax.train import read_jsonl, train
from vsft_jax.workdir_lock import WorkdirInUse, working_in

pytestmark = pytest.mark.usefixtures("one_device")


@pytest.fixture(scope="module")
def config(shared_config):
    config = shared_config.copy_and_resolve_references()
    config.train.update(steps=4, checkpoint_every=2, keep_checkpoints=2)
    return config


@pytest.fixture(scope="module")
def trained(config, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("trained")
    with devices(1):
        train(Run(config, workdir))
    return workdir


@pytest.fixture
def workdir(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    return tmp_path / "run"


def _losses(workdir):
    return [row["loss"] for row in read_jsonl(workdir / "train.jsonl")]


def _damage(folder):
    """Flips a bit in the largest file."""
    path = max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)
    return path.relative_to(folder)


def test_a_run_goes_on_from_the_checkpoint_before_a_damaged_one(config, trained, workdir, caplog):
    folder = workdir / "checkpoints" / "4"
    file = f"params/{_damage(folder / 'params')}"
    with pytest.raises(CheckpointError, match=f"4 is damaged: {file} does not.*\nStep 2 is whole"):
        load_model(Run(config, workdir))
    train(Run(config, workdir))
    assert any(f"checkpoint 4 is damaged: {file}" in message for message in caplog.messages)
    assert folder.is_dir() and folder.with_name("4.damaged").is_dir()
    assert _losses(workdir) == _losses(trained) and len(_losses(workdir)) == 4
    load_model(Run(config, workdir))


def test_a_damaged_start_is_refused(config, workdir, tmp_path):
    other = config.copy_and_resolve_references()
    other.train.init_from = str(workdir)
    for step in ("2", "4"):
        _damage(workdir / "checkpoints" / step / "params")
    with pytest.raises(CheckpointError, match="4 is damaged: params/.*\nNo other checkpoint is wh"):
        train(Run(other, tmp_path / "next"))
    with pytest.raises(CheckpointError, match="has no whole checkpoint to go on from: step 4: par"):
        train(Run(config, workdir))


def test_a_model_with_nan_is_refused_wherever_it_is_used(config, trained, workdir, tmp_path):
    with devices(1):
        params = load_model(Run(config, trained)).params
    params["merger"]["fc1"]["kernel"][...] *= jnp.nan
    with contextlib.closing(Checkpoints(workdir)) as checkpoints:
        checkpoints.save(5, params, params, checkpoints.meta())
    named = "5 is of no use: merger/fc1/kernel is not finite.*\nStep 4 is whole"
    with pytest.raises(CheckpointError, match=named):
        load_model(Run(config, workdir))
    other = config.copy_and_resolve_references()
    other.train.init_from = str(workdir)
    with pytest.raises(CheckpointError, match=named):
        train(Run(other, tmp_path / "next"))


def test_jobs_that_write_are_refused_beside_another_and_the_others_are_not(config, trained):
    with working_in(trained, "study"):
        with pytest.raises(WorkdirInUse, match="--job=study of process"):
            train(Run(config, trained))
        with pytest.raises(WorkdirInUse, match="--job=study of process"):
            prepare_all(Run(config, trained), lambda *_: None)
        assert flatten(load_model(Run(config, trained)).params)
