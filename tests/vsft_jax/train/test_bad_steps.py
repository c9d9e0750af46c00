"""Steps whose loss is no number, or that have nothing to learn from, change nothing."""

import contextlib
import json
import os
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from tests.conftest import no_file_larger_than
from vsft_jax.checkpoints import Checkpoints
from vsft_jax.config import Run
from vsft_jax.parameters import flatten
from vsft_jax.train import Diverged, loop, read_jsonl, step, train
from vsft_jax.train.record.bad_steps import BadSteps, check_finite

pytestmark = pytest.mark.usefixtures("one_device")


def _weights(monkeypatch, values):
    """Loss weights of some steps: factor by step, counted from 1."""
    put, step = loop.put_batch, [0]

    def spy(arrays, mesh, rows):
        step[0] += 1
        factor = np.float32(values.get(step[0], 1.0))
        return put({**arrays, "loss_weights": arrays["loss_weights"] * factor}, mesh, rows)

    monkeypatch.setattr(loop, "put_batch", spy)


@pytest.fixture
def config(shared_config):
    config = shared_config.copy_and_resolve_references()
    config.train.update(steps=3, checkpoint_every=1, keep_checkpoints=3)
    config.optimizer.update(warmup_steps=0, weight_decay=0.1)
    return config


def _saved(config, workdir, step):
    trainer = loop.make_trainer(Run(config, workdir))
    with (
        contextlib.closing(Checkpoints(workdir, read_only=True)) as checkpoints,
        jax.set_mesh(trainer.mesh),
    ):
        like = trainer.abstract_state
        params = checkpoints.restore_params(like.params, step)
        optimizer = checkpoints.restore_optimizer(
            {"opt_state": like.opt_state, "step": like.step}, step
        )
    return jax.device_get(flatten({"params": params, **optimizer}))


@pytest.mark.parametrize("factor", [np.nan, 1e38, 0.0])
def test_a_step_without_a_loss_changes_nothing_but_the_number_of_steps(
    config, tmp_path, monkeypatch, factor
):
    config.train.update(steps=4, checkpoint_every=3)
    _weights(monkeypatch, {4: factor})  # the last step, which is saved whatever it was
    train(Run(config, tmp_path))
    before, after = _saved(config, tmp_path, 3), _saved(config, tmp_path, 4)
    changed = {name for name, value in after.items() if not np.array_equal(value, before[name])}
    # The learning rate's schedule goes with the steps.
    schedules = {name for name in changed if name.endswith("/count") and "/mu" not in name}
    assert changed - schedules == {"step"} and len(schedules) == 3
    moments = {name for name in after if "/mu/" in name}
    assert moments and not moments & changed

    *rows, last = read_jsonl(tmp_path / "train.jsonl")
    assert last["loss"] is None and last["grad_norm"] is None and last["token_accuracy"] is None
    assert all(row["loss"] > 0 and row["bad_steps"] == 0 for row in rows)
    assert last["bad_steps"] == (factor != 0.0)
    record = tmp_path / "bad_steps.jsonl"
    if factor == 0.0:
        assert not record.exists()
    else:
        (entry,) = read_jsonl(record)
        assert entry["step"] == 4 and len(entry["examples"]) == last["examples"]
        media = [path for each in entry["examples"] for path in each["media"]]
        assert media and all(map(os.path.isfile, media))
        assert len({each["id"] for each in entry["examples"]}) == len(entry["examples"])


def test_a_bad_step_leaves_the_others_of_its_row_in_the_record(config, tmp_path, monkeypatch):
    config.train.update(steps=4, checkpoint_every=100, log_every=2)
    _weights(monkeypatch, {3: np.nan})
    train(Run(config, tmp_path))
    first, second = read_jsonl(tmp_path / "train.jsonl")
    assert (first["bad_steps"], second["bad_steps"]) == (0, 1)
    assert 0 < second["loss"] < 2 * first["loss"]


def test_a_full_disk_ends_no_run_for_the_list_of_bad_steps(config, tmp_path, monkeypatch, caplog):
    """What did not fit is taken back, and said once."""
    path, said = tmp_path / "bad_steps.jsonl", "Bad steps are named in this log alone"
    watch = BadSteps(Run(config, tmp_path), path, lambda step: [])
    bad = SimpleNamespace(bad=np.float32(1), spikes=np.float32(0))
    monkeypatch.setattr(watch, "_most", 5)
    watch.add(1, bad)
    before = path.read_bytes()
    with no_file_larger_than(len(before) + 7):
        watch.add(2, bad)
        watch.add(3, bad)
    assert path.read_bytes() == before and watch.in_a_row == 3
    assert [said in message for message in caplog.messages].count(True) == 1


def test_too_many_in_a_row_end_the_run_at_its_last_good_checkpoint(config, tmp_path, monkeypatch):
    config.train.update(steps=30, max_bad_steps=3, keep_checkpoints=2)
    _weights(monkeypatch, {2: np.nan, 4: np.nan, 5: np.nan, **dict.fromkeys(range(7, 31), np.nan)})
    with pytest.raises(Diverged, match=r"in 3 steps in a row, to step 9 .*max_bad_steps") as error:
        train(Run(config, tmp_path))
    assert len(str(error.value).splitlines()) <= 5 and "bad_steps.jsonl" in str(error.value)
    with contextlib.closing(Checkpoints(tmp_path, read_only=True)) as checkpoints:
        assert checkpoints.latest() == 6
    assert [row["step"] for row in read_jsonl(tmp_path / "bad_steps.jsonl")] == [2, 4, 5, 7, 8, 9]


def test_a_learning_rate_that_ruins_the_model_is_noticed_in_a_short_run(config, tmp_path):
    config.train.update(steps=4, checkpoint_every=2)
    config.optimizer.learning_rate.update(tower=1e30, projector=1e30, llm=1e30)
    with pytest.raises(Diverged, match="config.optimizer.learning_rate"):
        train(Run(config, tmp_path))
    assert not list((tmp_path / "checkpoints").glob("[0-9]*"))
    assert all(json.loads(line) for line in (tmp_path / "train.jsonl").read_text().splitlines())


def test_parameters_that_are_not_finite_are_refused():
    check_finite({"a": np.ones(3), "b": np.zeros((2, 2))}, 4)
    with pytest.raises(Diverged, match="after step 5"):
        check_finite({"a": np.ones(3), "b": np.array([1.0, np.inf])}, 5)


@pytest.fixture
def spikes(config, monkeypatch):
    """A config under which every step above the median of the two before it is a spike."""
    monkeypatch.setattr(step, "RECENT", 2)
    config.train.update(steps=9, checkpoint_every=1, keep_checkpoints=9, skip_loss_above=1.0)
    return config


def test_a_step_far_above_the_usual_loss_changes_nothing_and_is_named(spikes, tmp_path, caplog):
    train(Run(spikes, tmp_path))
    rows = read_jsonl(tmp_path / "train.jsonl")
    skipped = read_jsonl(tmp_path / "bad_steps.jsonl")
    bad = [each["step"] for each in skipped]
    assert [row["step"] for row in rows if row["bad_steps"]] == bad and 0 < len(bad) < 7
    assert min(bad) > 2 and all(rows[number - 1]["loss"] is None for number in bad)
    assert all("config.train.skip_loss_above" in each["why"] for each in skipped)
    (first, *_) = [m for m in caplog.messages if "changed nothing" in m]
    assert first.startswith(f"step {bad[0]} changed nothing, since the loss was above config.train")
    saved = {int(path.name) for path in (tmp_path / "checkpoints").iterdir()}
    assert saved == {*range(1, 10)} - set(bad) | {9}
    good = [row["loss"] for row in rows if not row["bad_steps"]]
    assert all(loss <= np.median(good[i : i + 2]) for i, loss in enumerate(good[2:]))


def test_spikes_are_those_of_a_run_that_was_never_killed(spikes, tmp_path, monkeypatch):
    train(Run(spikes, tmp_path / "whole"))
    put, left = loop.put_batch, [0]

    def killed(*arguments):
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        return put(*arguments)

    monkeypatch.setattr(loop, "put_batch", killed)
    for left[0] in (5, 3):
        with pytest.raises(KeyboardInterrupt):
            train(Run(spikes, tmp_path / "killed"))
    left[0] = 0
    train(Run(spikes, tmp_path / "killed"))
    found, expected = (
        [(row["step"], row["loss"]) for row in read_jsonl(tmp_path / name / "train.jsonl")]
        for name in ("killed", "whole")
    )
    assert found == expected
    found, expected = (_saved(spikes, tmp_path / name, 9) for name in ("killed", "whole"))
    assert all(np.array_equal(found[name], expected[name]) for name in expected)
