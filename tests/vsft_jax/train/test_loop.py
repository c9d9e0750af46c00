"""The training loop: exact resume, sharding, accumulation, freezing, one compilation."""

import json
import os
import signal

import jax
import numpy as np
import pytest
from flax import nnx
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from input_pipeline.index.quarantine import read_quarantine
from tests.conftest import devices
from vsft_jax.checkpoints import CheckpointError, Checkpoints
from vsft_jax.config import Run
from vsft_jax.errors import ConfigError
from vsft_jax.inference import load_model
from vsft_jax.parameters import flatten
from vsft_jax.prepare import prepare_training
from vsft_jax.train import loop, make_trainer, train
from vsft_jax.train.log import log_plan
from vsft_jax.train.preemption import Preempted
from vsft_jax.train.record import read_jsonl
from vsft_jax.train.resume import schedule_of
from vsft_jax.train.setup import batch_plan, initial_state, with_schedule

pytestmark = pytest.mark.usefixtures("one_device")


def _both(config, **changes):
    """The config on pictures and clips together, with a few changed values."""
    config = config.copy_and_resolve_references()
    config.data.train.images.weight = 1.0
    config.train.update(changes)
    return config


def _losses(workdir):
    return [row["loss"] for row in read_jsonl(workdir / "train.jsonl")]


def _saved(config, workdir, step=None):
    """Everything in a checkpoint by path."""
    trainer = make_trainer(Run(config, ""))
    checkpoints = Checkpoints(workdir, read_only=True)
    with jax.set_mesh(trainer.mesh):
        like = trainer.abstract_state
        params = checkpoints.restore_params(like.params, step)
        optimizer = checkpoints.restore_optimizer(
            {"opt_state": like.opt_state, "step": like.step}, step
        )
    checkpoints.close()
    return jax.device_get(flatten({"params": params, **optimizer}))


@pytest.fixture(scope="module")
def trained(shared_config, tmp_path_factory):
    """Four steps in one go on one device: (config, workdir)."""
    config = _both(shared_config, steps=4)
    workdir = tmp_path_factory.mktemp("four")
    with devices(1):
        train(Run(config, workdir))
    return config, workdir


def test_two_and_two_steps_equal_four_bit_for_bit(trained, tmp_path):
    config, whole = trained
    # The schedule looks at config.train.steps, so the first half is a run cut off after step 2.
    killed = RuntimeError("killed")

    def kill_after_two(model):
        raise killed

    cut = _both(config, evaluate_every=3)
    with pytest.raises(RuntimeError, match="killed"):
        train(Run(cut, tmp_path), kill_after_two)
    assert Checkpoints(tmp_path, read_only=True).latest() == 2
    train(Run(config, tmp_path))
    expected, found = _saved(config, whole), _saved(config, tmp_path)
    assert expected.keys() == found.keys() and int(found["step"]) == 4
    for name, value in expected.items():
        np.testing.assert_array_equal(value, found[name], err_msg=name)
    assert _losses(tmp_path) == _losses(whole)


def test_a_finished_run_is_not_trained_again(trained):
    config, workdir = trained
    before = (workdir / "train.jsonl").read_text()
    train(Run(config, workdir))
    assert (workdir / "train.jsonl").read_text() == before


def test_more_steps_done_than_wanted_is_an_error(trained):
    config, workdir = trained
    with pytest.raises(ConfigError, match="config.train.steps = 3.*at step 4"):
        train(Run(_both(config, steps=3), workdir))


def test_what_decides_about_the_rows_must_not_change_half_way(trained):
    config, workdir = trained
    changed = _both(config, steps=6, pack_window=64)
    changed.seed = 1
    with changed.unlocked():
        changed.frames = {"kind": "fixed", "frames": 2}
    message = "config.seed was 0 and is 1; config.train.pack_window was .* and is 64; config.frames"
    with pytest.raises(ConfigError, match=message):
        train(Run(changed, workdir))
    fewer = _both(config, steps=6)
    fewer.data.train.images.weight = 0.5
    with pytest.raises(ConfigError, match="data.train.images was 1.0 and is 0.5"):
        train(Run(fewer, workdir))


def test_the_schedule_goes_on_as_it_began(shared_config):
    config = _both(shared_config, steps=0, epochs=2.0, batch_rows=0, batch_examples=100)
    saved = {"train": {"steps": 70, "epochs": 2.0, "batch_rows": 24, "batch_examples": 100}}
    found = schedule_of(Run(config, ""), saved).config.train
    assert (found.steps, found.batch_rows) == (70, 24)
    longer = schedule_of(Run(_both(config, epochs=3.0), ""), saved).config.train
    assert (longer.steps, longer.batch_rows) == (0, 24)
    assert schedule_of(Run(_both(config, steps=90), ""), saved).config.train.steps == 90


def test_what_trains_is_float32_whatever_the_parameters_are(shared_config):
    config = _both(shared_config, steps=1)
    config.model.param_dtype = "bfloat16"
    config.optimizer.learning_rate.tower = 0.0
    trainer = make_trainer(Run(config, ""))
    with jax.set_mesh(trainer.mesh):
        state = trainer.init()
    dtypes = {
        name: {x.dtype.name for x in jax.tree.leaves(tree) if x.ndim}
        for name, tree in vars(state).items()
    }
    assert dtypes["trainable"] == dtypes["opt_state"] == {"float32"}
    assert dtypes["frozen"] == {"bfloat16"}


@pytest.mark.parametrize(
    "mesh", [{"data": 2, "fsdp": 4, "tensor": 1}, {"data": 1, "fsdp": 4, "tensor": 2}]
)
def test_eight_devices_give_the_losses_of_one(shared_config, tmp_path, mesh):
    config = _both(shared_config, steps=3, batch_rows=8)
    train(Run(config, tmp_path / "one"))
    config.mesh.update(mesh)
    with devices(8):
        train(Run(config, tmp_path / "eight"))
        trainer = make_trainer(Run(config, ""))
    np.testing.assert_allclose(_losses(tmp_path / "eight"), _losses(tmp_path / "one"), rtol=2e-5)
    kernel = trainer.abstract_state.trainable["llm"]["layers"]["q"]["kernel"]
    shard = kernel.sharding.shard_shape(kernel.shape)
    assert np.prod(shard) * mesh["fsdp"] * mesh["tensor"] == np.prod(kernel.shape)


def test_accumulated_microbatches_equal_one_batch(shared_config, tmp_path):
    config = _both(shared_config, steps=2, batch_rows=4)
    train(Run(config, tmp_path / "whole"))
    train(Run(_both(config, accumulate=4), tmp_path / "parts"))
    np.testing.assert_allclose(_losses(tmp_path / "parts"), _losses(tmp_path / "whole"), rtol=2e-5)


def test_a_frozen_part_does_not_move_and_has_no_optimiser_state(shared_config, tmp_path):
    config = _both(shared_config, steps=1)
    config.optimizer.warmup_steps = 0
    config.optimizer.learning_rate.tower = 0.0
    trainer = make_trainer(Run(config, ""))
    with jax.set_mesh(trainer.mesh):
        before = jax.device_get(flatten(trainer.init().params))
    train(Run(config, tmp_path))
    after = _saved(config, tmp_path)
    for name, value in before.items():
        assert np.array_equal(value, after[f"params/{name}"]) == name.startswith("visual"), name
    moments = [name for name in after if "/mu/" in name]
    assert len(moments) == sum(not name.startswith("visual") for name in before)


def test_parts_learn_at_their_own_rates(shared_config, tmp_path):
    config = _both(shared_config, steps=1)
    config.optimizer.update(warmup_steps=0, weight_decay=0.0, final_fraction=1.0)
    config.optimizer.learning_rate.update(tower=1e-3, projector=1e-4, llm=1e-5)
    trainer = make_trainer(Run(config, ""))
    with jax.set_mesh(trainer.mesh):
        before = jax.device_get(flatten(trainer.init().params))
    train(Run(config, tmp_path))
    after = _saved(config, tmp_path)
    for top, rate in (("visual", 1e-3), ("merger", 1e-4), ("llm", 1e-5)):
        # Adam's first step moves every parameter with a gradient by its learning rate.
        moved = max(
            np.abs(after[f"params/{name}"] - value).max()
            for name, value in before.items()
            if name.startswith(top)
        )
        assert moved == pytest.approx(rate, rel=0.02), top


def test_one_compilation_serves_every_mix_of_media(shared_config, tmp_path, monkeypatch):
    config = _both(shared_config, steps=6, batch_rows=2)
    trainers = []
    make = loop.make_trainer
    monkeypatch.setattr(loop, "make_trainer", lambda *a: trainers.append(make(*a)) or trainers[0])
    seen = set()
    put = loop.put_batch

    def spy(arrays, mesh, rows):
        seen.add(tuple(int(x) for x in arrays["patch_frames"].max(axis=1)))
        return put(arrays, mesh, rows)

    monkeypatch.setattr(loop, "put_batch", spy)
    train(Run(config, tmp_path))
    assert len(seen) > 2  # rows with different numbers of frames did come
    assert trainers[0].step._cache_size() == 1


def test_losing_a_file_after_prepare_masks_it_and_says_so(shared_config, tmp_path, monkeypatch):
    from input_pipeline.media import Decoder, MediaError

    frames = Decoder.frames

    def broken(self, ref, indices, size):
        if ref.path.endswith("00001.mp4"):
            raise MediaError(ref.path, "missing", "no such file")
        return frames(self, ref, indices, size)

    monkeypatch.setattr(Decoder, "frames", broken)
    config = shared_config.copy_and_resolve_references()
    config.train.update(steps=4, batch_rows=4)
    train(Run(config, tmp_path))
    entries = list(read_quarantine(tmp_path / "quarantine.jsonl"))
    assert {e.reason for e in entries} == {"missing"}
    assert all(e.path.endswith("00001.mp4") and e.stage == "decode" for e in entries)
    assert sum(row["masked"] for row in read_jsonl(tmp_path / "train.jsonl")) >= len(entries) > 0


def test_losing_most_files_after_prepare_stops_the_run(shared_config, tmp_path, monkeypatch):
    from input_pipeline.index import TooManyBad
    from input_pipeline.media import Decoder, MediaError

    def gone(self, ref, indices, size):
        raise MediaError(ref.path, "missing", "no such file")

    monkeypatch.setattr(Decoder, "frames", gone)
    config = shared_config.copy_and_resolve_references()
    config.train.update(steps=20, batch_rows=4)
    with pytest.raises(TooManyBad, match="config.data.max_bad_fraction = 0.1: .*quarantine.jsonl"):
        train(Run(config, tmp_path))
    assert len(list(read_quarantine(tmp_path / "quarantine.jsonl"))) > 10


def test_starting_from_another_run(trained, tmp_path):
    config, source = trained
    config = _both(config, init_from=str(source))
    trainer = make_trainer(Run(config, ""))
    with jax.set_mesh(trainer.mesh):
        state = initial_state(Run(config, ""), trainer, Checkpoints(tmp_path))
    assert int(state.step) == 0
    expected = _saved(config, source)
    for name, value in jax.device_get(flatten({"params": state.params})).items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)


@pytest.fixture(scope="module")
def adapted(shared_config, tmp_path_factory):
    """Four steps in one go with adapters: (config, workdir)."""
    config = _both(shared_config, steps=4, checkpoint_every=100)
    config.lora.update(rank=2, alpha=6.0)
    workdir = tmp_path_factory.mktemp("adapters")
    with devices(1):
        train(Run(config, workdir))
    return config, workdir


def test_sigterm_saves_the_step_under_way_and_the_run_goes_on_bit_for_bit(
    adapted, tmp_path, monkeypatch
):
    config, whole = adapted
    before = signal.getsignal(signal.SIGTERM)
    put, steps = loop.put_batch, []

    def end_during_the_second_step(*arguments):
        steps.append(arguments)
        if len(steps) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return put(*arguments)

    with monkeypatch.context() as patch, pytest.raises(Preempted) as ended:
        patch.setattr(loop, "put_batch", end_during_the_second_step)
        train(Run(config, tmp_path))
    assert ended.value.code == 143 and signal.getsignal(signal.SIGTERM) is before
    assert Checkpoints(tmp_path, read_only=True).latest() == 2
    train(Run(config, tmp_path))
    expected, found = _saved(config, whole), _saved(config, tmp_path)
    assert expected.keys() == found.keys() and int(found["step"]) == 4
    assert any(name.endswith("/lora_b") for name in expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(value, found[name], err_msg=name)
    assert _losses(tmp_path) == _losses(whole)


def _start(config, workdir):
    """What a new run of this config starts with: parameters by path."""
    trainer = make_trainer(Run(config, ""))
    with jax.set_mesh(trainer.mesh):
        state = initial_state(Run(config, ""), trainer, Checkpoints(workdir))
    return jax.device_get(flatten(state.params))


def _merged(params, scale):
    """Adapters' effect added to their matrices, by numpy."""
    found = {name: value for name, value in params.items() if "lora_" not in name}
    for name in params:
        if name.endswith("lora_a"):
            a, b = params[name], params[name.replace("lora_a", "lora_b")]
            kernel = name.replace("lora_a", "kernel")
            found[kernel] = found[kernel] + scale * np.einsum("dir,dro->dio", a, b)
    return found


def test_starting_with_adapters_from_a_run_without(trained, tmp_path):
    config, source = trained
    config = _both(config, init_from=str(source))
    config.lora.rank = 4
    expected = _saved(trained[0], source)
    found = _start(config, tmp_path)
    added = {name for name in found if "lora_" in name}
    assert len(added) == 14
    assert all(found[name].any() == name.endswith("lora_a") for name in added)
    for name in found.keys() - added:
        np.testing.assert_array_equal(found[name], expected[f"params/{name}"], err_msg=name)


def test_starting_from_a_run_with_adapters(adapted, tmp_path):
    config, source = adapted
    saved = {
        name.removeprefix("params/"): value
        for name, value in _saved(config, source).items()
        if name.startswith("params/")
    }
    assert all(saved[name].any() for name in saved if "lora_" in name)
    config = _both(config, init_from=str(source))
    # The same adapters go on.
    found = _start(config, tmp_path / "same")
    assert found.keys() == saved.keys()
    assert all(np.array_equal(found[name], saved[name]) for name in saved)
    # Others, or none, start from the function that these gave.
    merged = _merged(saved, 6.0 / 2)
    for rank in (0, 3):
        config.lora.rank = rank
        found = _start(config, tmp_path / str(rank))
        assert {name for name in found if "lora_" not in name} == merged.keys()
        for name, value in merged.items():
            np.testing.assert_allclose(found[name], value, atol=1e-6, err_msg=name)
        assert not any(found[name].any() for name in found if name.endswith("lora_b"))
        assert sum("lora_" in name for name in found) == 14 * (rank > 0)


def test_adapters_do_not_change_within_a_run(adapted):
    config, workdir = adapted
    config = _both(config, steps=5)
    config.lora.alpha = 7.0
    with pytest.raises(ConfigError, match=r"alpha=7.0.*was trained with .*alpha=6.0"):
        train(Run(config, workdir))


def test_a_model_is_loaded_with_the_adapters_of_its_checkpoint(adapted):
    config, workdir = adapted
    plain = _both(config)
    plain.lora.rank = 0
    models = {}
    for factor in (1.0, 0.5):
        plain.lora.eval_scale = factor
        model = load_model(Run(plain, workdir))
        assert sum("lora_" in name for name in flatten(model.params)) == 14
        models[factor] = nnx.merge(model.graphdef, model.params).llm.layers.mlp.up.lora_scale
    assert models == {1.0: 3.0, 0.5: 1.5}
    other = _both(config)
    other.lora.rank = 4
    with pytest.raises(ConfigError, match=r"rank=4.*was trained with .*rank=2"):
        load_model(Run(other, workdir))


def test_a_checkpoint_of_another_shape_is_refused_with_names(trained, tmp_path):
    config, source = trained
    config = _both(config, init_from=str(source))
    config.model.text.mlp_width = 48
    with pytest.raises(CheckpointError, match=r"llm/layers/mlp/gate/kernel is \(2, 32, 64\)"):
        train(Run(config, tmp_path))
    with pytest.raises(ConfigError, match="init_from = .*there is no .*nothing"):
        train(Run(_both(config, init_from=str(tmp_path / "nothing")), tmp_path / "new"))


def test_schedule_from_epochs_and_examples(shared_config, tmp_path, caplog):
    config = _both(shared_config, steps=0, batch_rows=0, epochs=2.0, batch_examples=12)
    prepared = prepare_training(Run(config, tmp_path))
    stores = prepared.stores()
    run = with_schedule(Run(config, tmp_path), stores)
    plan, planned = batch_plan(run, stores), run.config
    first = plan.pack_plan(0)
    examples = sum(len(store) * config.data.train[name].weight for name, store in stores.items())
    assert planned.train.batch_rows == round(12 / (examples / first.rows))
    assert planned.train.steps == -(-2 * first.rows // planned.train.batch_rows)
    log_plan(run, plan)
    assert "takes them" not in caplog.text
    many = Run(_both(config, batch_rows=2 * first.rows, steps=3), tmp_path)
    log_plan(many, batch_plan(many, stores))
    assert f"an epoch is {first.rows} rows, and a step of config.train.batch_rows" in caplog.text
    assert f"takes them 2.0 times: set it to {first.rows} or fewer" in caplog.text
    with pytest.raises(ConfigError, match="config.train.steps or config.train.epochs"):
        with_schedule(Run(_both(config, epochs=0.0), tmp_path), stores)


def test_evaluation_on_schedule_follows_the_steps_record(shared_config, tmp_path):
    config = _both(shared_config, steps=3, evaluate_every=2)
    train(Run(config, tmp_path), lambda model: {"eval/score": float(model.step)})
    rows = read_jsonl(tmp_path / "train.jsonl")
    assert [row["step"] for row in rows if "loss" in row] == [1, 2, 3]
    assert [row for row in rows if "loss" not in row] == [
        {"step": 2, "eval/score": 2.0},
        {"step": 3, "eval/score": 3.0},
    ]
    assert [row["step"] for row in rows] == [1, 2, 2, 3, 3]


def test_what_a_run_leaves_behind(trained):
    config, workdir = trained
    meta = json.loads((workdir / "config.json").read_text())
    assert meta["frames"]["kind"] == "hybrid" and meta["config"]["train"]["steps"] == 4
    rows = read_jsonl(workdir / "train.jsonl")
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert all(0 < row["token_fill"] <= 1 and 0 < row["patch_fill"] <= 1 for row in rows)

    board = EventAccumulator(str(workdir / "tensorboard")).Reload()
    assert [event.step for event in board.Scalars("loss")] == [1, 2, 3, 4]
    assert [event.value for event in board.Scalars("loss")] == pytest.approx(_losses(workdir))
