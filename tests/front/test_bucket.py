"""A workdir in a bucket: all that a job leaves is there, and another machine goes on from it."""

import json

import fsspec
import pytest

from front import main
from input_pipeline import mirrors
from input_pipeline.mirrors import sizes
from tests.bucket import bucket
from vsft_jax.checkpoints import home, steps_of


@pytest.fixture(scope="module")
def address():
    with bucket("pod-test") as there:
        yield f"{there}/runs/one"


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Another machine: nothing of the address is here yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(mirrors, "_open", {})


@pytest.fixture(scope="module")
def job(world, address):
    def do(job, *more):
        return main([f"--workdir={address}", f"--job={job}", *more])

    return do


def _config(world, steps):
    return [
        "--config=configs/tiny.py:frames=hybrid",
        f"--config.data.root={world}",
        f"--config.train.steps={steps}",
        "--config.train.batch_rows=8",
        "--config.train.log_every=1",
        "--config.train.keep_checkpoints=2",
    ]


def _lines(address, name):
    text = fsspec.filesystem("gs").cat_file(f"{address}/{name}").decode()
    return [json.loads(line) for line in text.splitlines()]


def test_training_leaves_everything_in_the_bucket(machine, address, job, world, capsys):
    assert job("train", *_config(world, 2)) == 0
    assert f"checkpoints and train.jsonl: {address}" in capsys.readouterr().err
    there = sizes(address)
    assert {"config.json", "train.jsonl", "tokenizer/tokenizer.json"} <= there.keys()
    assert any(name.startswith("index/") and name.endswith(".arrow") for name in there)
    assert any(name.startswith("tensorboard/") for name in there)
    assert not [name for name in there if "partial" in name or name.endswith("-journal")]
    assert steps_of(home(address)) == [2] and "checkpoints/2/manifest.json" in there
    assert [row["step"] for row in _lines(address, "train.jsonl")] == [1, 2]


def test_another_machine_goes_on_evaluates_and_exports(machine, address, job, world, caplog):
    assert job("train", "--config.train.steps=3") == 0
    assert [row["step"] for row in _lines(address, "train.jsonl")] == [1, 2, 3]
    assert steps_of(home(address)) == [3, 2]
    assert "prepared before" in caplog.text
    limit = ["--config.eval.limit=4", "--config.eval.max_new_tokens=2"]
    assert job("evaluate", *limit) == 0
    assert job("export") == 0
    there = sizes(address)
    assert any(name.startswith("eval/") and name.endswith("predictions.jsonl") for name in there)
    assert "hf/model.safetensors" in there and "hf/config.json" in there


def test_a_checkpoint_that_lacks_an_object_is_set_aside(machine, address, job, world, caplog):
    system = fsspec.filesystem("gs")
    (name,) = [n for n in sizes(address) if n.startswith("checkpoints/3/params/d/")][:1]
    system.rm_file(f"{address}/{name}")
    system.pipe_file(f"{address}/checkpoints/9/params/half", b"of a save that was killed")
    assert job("train", "--config.train.steps=3") == 0
    assert "checkpoint 3 is damaged" in caplog.text and "checkpoints/9" in caplog.text
    assert steps_of(home(address)) == [3, 2]
    assert [row["step"] for row in _lines(address, "train.jsonl")] == [1, 2, 3]


def test_a_bucket_without_a_run_is_refused(machine, address, capsys):
    assert main([f"--workdir={address}-not", "--job=evaluate"]) == 2
    assert "nothing is there" in capsys.readouterr().err
