"""The services that trackers write to: TensorBoard, Weights & Biases, MLflow.

Each package but TensorBoard's is optional, and imported only when it is asked for. Which server
they write to, under which account, or that they work offline is said in the ways that these
packages document, such as WANDB_MODE and MLFLOW_TRACKING_URI: keys and addresses do not belong into
a config that is kept.
"""

import dataclasses
import functools
import importlib
import json
import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from input_pipeline.files import write_atomically
from vsft_jax.errors import ConfigError
from vsft_jax.train.record.trackers import CLOSE_SECONDS, Tracker, Trackers


@dataclasses.dataclass(frozen=True)
class Tracked:
    """The run that is shown. config: as JSON values. resume_step: that it goes on from."""

    workdir: Path
    config: Mapping[str, Any]
    resume_step: int = 0

    @property
    def project(self) -> str:
        """Under which a service files it."""
        return self.config["train"]["project"]


class TensorBoard:
    """Event files in <workdir>/tensorboard.

    Through tensorboardX's file writer alone: its SummaryWriter hands rows to a thread that a full
    disk ends, and then waits for it for ever.
    """

    def __init__(self, run: Tracked):
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog
        from tensorboardX.summary import scalar, text

        self._event, self._scalar = Event, scalar
        folder = run.workdir / "tensorboard"
        folder.mkdir(parents=True, exist_ok=True)
        self._events = EventsWriter(str(folder / "events"), f".{time.time_ns()}")
        if run.resume_step:  # TensorBoard then drops what it has read of later steps
            start = SessionLog(status=SessionLog.START)
            self._write(step=run.resume_step + 1, session_log=start)
        config = f"```json\n{json.dumps(run.config, indent=1)}\n```"
        self._write(step=run.resume_step, summary=text("config", config))
        self._events.flush()

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        for name, value in scalars.items():
            self._write(step=step, summary=self._scalar(name, value))
        self._events.flush()

    def close(self) -> None:
        self._events.close()

    def _write(self, **fields: Any) -> None:
        self._events.write_event(self._event(wall_time=time.time(), **fields))


class WandB:
    """A run of Weights & Biases; a training that goes on adds to the run that it began."""

    def __init__(self, run: Tracked):
        import wandb

        if wandb.setup().settings.mode == "online" and not wandb.login(prompt=False):
            raise RuntimeError("no API key: `wandb login`, or WANDB_MODE=offline")
        self._run = wandb.init(
            project=run.project,
            name=run.workdir.name,
            id=_kept_id(run, "wandb", lambda: uuid.uuid4().hex[:8]),
            resume="allow",
            dir=run.workdir,
            config=dict(run.config),
            # The terminal is ours, and an end that waits for a network has an end.
            settings=wandb.Settings(silent=True, console="off", finish_timeout=CLOSE_SECONDS / 2),
        )

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        self._run.log(dict(scalars), step=step)

    def close(self) -> None:
        self._run.finish()


class MLflow:
    """A run of MLflow; a training that goes on adds to the run that it began."""

    _PARAMS = 100  # that a call may bring
    _LENGTH = 500  # of a parameter's value, for servers of all versions

    def __init__(self, run: Tracked):
        from mlflow import MlflowClient
        from mlflow.entities import Metric, Param

        self._metric, self._client = Metric, MlflowClient()
        self._id = _kept_id(run, "mlflow", functools.partial(self._begin, run))
        if not run.resume_step:
            params = [
                Param(self._named(name), value[: self._LENGTH]) for name, value in flat(run.config)
            ]
            for first in range(0, len(params), self._PARAMS):
                self._client.log_batch(self._id, params=params[first : first + self._PARAMS])

    def _begin(self, run: Tracked) -> str:
        found = self._client.get_experiment_by_name(run.project)
        number = found.experiment_id if found else self._client.create_experiment(run.project)
        return self._client.create_run(number, run_name=run.workdir.name).info.run_id

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        now = int(1000 * time.time())
        metrics = [
            self._metric(self._named(name), value, now, step) for name, value in scalars.items()
        ]
        self._client.log_batch(self._id, metrics=metrics)

    def close(self) -> None:
        self._client.set_terminated(self._id)

    @staticmethod
    def _named(name: str) -> str:
        """A name of the characters that MLflow takes; data sets may have others."""
        return re.sub(r"[^\w\-./: ]", "_", name)


# Name in config.train.trackers → what makes its tracker, and the package that it needs.
SERVICES: Mapping[str, tuple[Callable[[Tracked], Tracker], str]] = {
    "tensorboard": (TensorBoard, "tensorboardX"),
    "wandb": (WandB, "wandb"),
    "mlflow": (MLflow, "mlflow"),
}


def check_trackers(names: Sequence[str]) -> None:
    """Imports the packages of trackers. Raises ConfigError for one that is not installed.

    To be called in the main thread: imports in several threads at a time may meet in Python's
    parser, which fails then (3.11: "AST constructor recursion depth mismatch").
    """
    for name in names:
        package = SERVICES[name][1]
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise ConfigError(
                f"config.train.trackers = {tuple(names)}: {name} needs the package {package}, "
                f"which cannot be imported ({error}): pip install {package}"
            ) from error


def make_trackers(names: Sequence[str], run: Tracked) -> Trackers:
    """The trackers of `config.train.trackers`, which begin to work."""
    return Trackers({name: functools.partial(SERVICES[name][0], run) for name in names})


def flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """("train.steps", "4") and so on for every value of a config."""
    for name, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value if isinstance(value, str) else json.dumps(value)


def _kept_id(run: Tracked, service: str, make: Callable[[], str]) -> str:
    """A service's name for this run, kept in the workdir for when it goes on."""
    path = run.workdir / f"{service}.id"
    if run.resume_step and path.exists():
        return path.read_text()
    found = make()
    write_atomically(path, found)
    return found
