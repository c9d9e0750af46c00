"""TensorBoard, Weights & Biases and MLflow, each without a network."""

import importlib.util
import json
import os
import re
import struct
import subprocess
import sys
import time

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.conftest import no_file_larger_than
from vsft_jax.config.checks.keys import KEYS
from vsft_jax.errors import ConfigError
from vsft_jax.train.record import SERVICES, Tracked, check_trackers, make_trackers, services

CONFIG = {
    "train": {"project": "tried", "steps": 4, "trackers": ["mlflow"]},
    "data": {"train": {"a set (1)": {"annotations": "x" * 1000}}, "benchmarks": {}},
}


def _show(service, workdir, first, last, resume_step=0):
    """Rows first … last of a run, and an evaluation of the last."""
    check_trackers([service])
    shown = make_trackers([service], Tracked(workdir, CONFIG, resume_step))
    for step in range(first, last + 1):
        shown.log(step, {"loss": step / 2, "learning_rate/llm": 1e-5})
    shown.log(last, {"eval/images": 0.75})
    shown.close()


def test_the_config_knows_the_services():
    check = KEYS["train.trackers"]
    assert check.find(tuple(SERVICES)) is None and check.find(()) is None
    assert check.find(("tensorbord",)) and check.find("wandb") and check.find(("wandb", "wandb"))


def test_a_package_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    check_trackers(("tensorboard",))
    with pytest.raises(ConfigError, match=r"config.train.trackers = .*: pip install mlflow$"):
        check_trackers(("mlflow",))


def test_packages_are_imported_when_they_are_asked_for():
    code = "import sys, vsft_jax.train; sys.exit(any(name in sys.modules for name in %r))"
    packages = [package for _, package in SERVICES.values()]
    subprocess.run([sys.executable, "-c", code % packages], check=True)


def test_tensorboard_goes_on_after_the_step_that_was_kept(tmp_path, caplog):
    _show("tensorboard", tmp_path, 1, 4)
    _show("tensorboard", tmp_path, 3, 5, resume_step=2)
    assert not caplog.messages
    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.step for event in board.Scalars("loss")] == [1, 2, 3, 4, 5]
    assert [event.value for event in board.Scalars("loss")] == [0.5, 1.0, 1.5, 2.0, 2.5]
    assert [event.value for event in board.Scalars("eval/images")] == [0.75]
    config = board.Tensors("config/text_summary")[0].tensor_proto.string_val[0].decode()
    assert '"steps": 4' in config


def test_a_full_disk_ends_tensorboard_and_nothing_else(tmp_path, caplog):
    board = make_trackers(["tensorboard"], Tracked(tmp_path, CONFIG))
    time.sleep(1)  # the file is there
    with no_file_larger_than(4096):
        start = time.monotonic()
        for step in range(3000):
            board.log(step, {"loss": 1.0})
        board.close()
    assert time.monotonic() - start < 10
    (said,) = [message for message in caplog.messages if "stopped" in message]
    assert said.startswith("tensorboard stopped: OSError: [Errno 27] File too large; training goes")


@pytest.mark.skipif(not importlib.util.find_spec("wandb"), reason="wandb is not installed")
def test_wandb_offline(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("WANDB_MODE", "offline")
    _show("wandb", tmp_path, 1, 3)
    time.sleep(1)  # wandb names a folder after the second that it begins in
    _show("wandb", tmp_path, 3, 4, resume_step=2)
    name = (tmp_path / "wandb.id").read_text()
    files = sorted((tmp_path / "wandb").glob(f"offline-run-*-{name}/run-{name}.wandb"))
    assert not caplog.messages
    rows, config = [], []
    for path in files:
        rows += [(row["_step"], row["loss"]) for row in _wandb_rows(path, config) if "loss" in row]
    assert rows == [(1, 0.5), (2, 1.0), (3, 1.5), (3, 1.5), (4, 2.0)]
    assert '"steps":4' in "".join(config).replace(" ", "")


def _wandb_rows(path, config):
    """The history of an offline run; adds the JSON of its config's values."""
    from wandb.proto.wandb_internal_pb2 import Record

    for data in _log_records(path.read_bytes()):
        record = Record.FromString(data)
        config += [update.value_json for update in record.run.config.update]
        if record.HasField("history"):
            items = record.history.item
            row = {item.key or "/".join(item.nested_key): item.value_json for item in items}
            yield {key: json.loads(value) for key, value in row.items()}


def _log_records(data):
    """Records of a file in LevelDB's log format, behind wandb's header of seven bytes."""
    at, record = 7, b""
    while at < len(data):
        room = 32768 - at % 32768  # of the block; a record's header is not split
        if room < 7:
            at += room
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        record += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield record
            record = b""


@pytest.mark.skipif(not importlib.util.find_spec("wandb"), reason="wandb is not installed")
@pytest.mark.parametrize(
    ("key", "said"),
    [
        (None, "wandb stopped: RuntimeError: no API key"),
        pytest.param("0" * 40, "wandb (stopped|did not end in time)", marks=pytest.mark.slow),
    ],
    ids=["no key", "no server"],
)
def test_wandb_without_a_key_or_a_server_neither_asks_nor_waits(tmp_path, key, said):
    code = """if True:
        import sys
        from pathlib import Path
        from vsft_jax.train.record import Tracked, make_trackers
        shown = make_trackers(["wandb"], Tracked(Path(sys.argv[1]), {"train": {"project": "p"}}))
        shown.log(1, {"loss": 1.0})
        shown.close()
    """
    environment = {**os.environ, "HOME": str(tmp_path), "WANDB_BASE_URL": "http://127.0.0.1:9"}
    environment |= {"WANDB_MODE": "online", "WANDB_API_KEY": key or ""}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0 and re.search(said, done.stderr), done.stderr


@pytest.mark.skipif(not importlib.util.find_spec("mlflow"), reason="mlflow is not installed")
def test_mlflow_in_a_folder(tmp_path, monkeypatch, caplog):
    from mlflow import MlflowClient

    folder = (tmp_path / "server").as_uri()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", folder)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    _show("mlflow", tmp_path / "run", 1, 3)
    _show("mlflow", tmp_path / "run", 3, 4, resume_step=2)
    assert not caplog.messages
    client = MlflowClient(folder)
    experiment = client.get_experiment_by_name("tried").experiment_id
    (run,) = client.search_runs([experiment])
    assert run.info.run_name == "run" and run.info.status == "FINISHED"
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [(m.step, m.value) for m in history] == [(1, 0.5), (2, 1), (3, 1.5), (3, 1.5), (4, 2)]
    assert run.data.metrics["eval/images"] == 0.75
    assert run.data.params["train.steps"] == "4" and run.data.params["data.benchmarks"] == "{}"
    assert len(run.data.params["data.train.a set _1_.annotations"]) == services.MLflow._LENGTH
