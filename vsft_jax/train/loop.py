"""The training job, from a config to a finished checkpoint."""

import contextlib
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import jax
import numpy as np
from absl import logging
from flax import nnx
from ml_collections import ConfigDict

from input_pipeline.batch_plan import BatchPlan, SourceSizes
from input_pipeline.batches import Batch, RowShape, device_arrays, make_batches
from input_pipeline.chat import ChatTokenizer
from input_pipeline.index import ExampleStore
from input_pipeline.progress import duration
from input_pipeline.quarantine import Quarantine
from vsft_jax import experiment
from vsft_jax.checkpoints import Checkpoints
from vsft_jax.hf_import import load_params
from vsft_jax.inference import LoadedModel
from vsft_jax.sharding import batch_shards, make_mesh, path_string, put_batch
from vsft_jax.train.metrics import MetricWriter, StepMetrics
from vsft_jax.train.optimizer import make_optimizer, trainable_parts
from vsft_jax.train.step import Trainer, TrainState

Evaluate = Callable[[LoadedModel], Mapping[str, float]]


def train(config: ConfigDict, workdir: str | Path, evaluate: Evaluate | None = None) -> None:
    """Trains for `config.train.steps` steps, resuming from the workdir's newest checkpoint.

    Leaves checkpoints/, train.jsonl, tensorboard/, config.json and, where media failed to decode,
    quarantine.jsonl in the workdir. evaluate: called every `config.train.evaluate_every` steps
    with the model as it is; its scalars are recorded under that step.
    """
    workdir = Path(workdir).absolute()

    # ── Data: prepared indexes, and from them the rows of every step. ──────────────────────────
    prepared = experiment.prepare_training(config, workdir)
    tokenizer = experiment.load_tokenizer(config, workdir)
    stores = {name: ExampleStore.open(path) for name, path in prepared.paths.items()}
    config = with_schedule(config, stores)
    plan = batch_plan(config, stores)
    _log_plan(config, plan)
    checkpoints = Checkpoints(workdir, keep=config.train.keep_checkpoints)
    if checkpoints.latest() == config.train.steps:
        logging.info("%s: already trained, step %d", workdir, config.train.steps)
        checkpoints.close()
        return
    meta = {"config": experiment.as_json(config), "frames": prepared.frames}

    # ── Model and state. ────────────────────────────────────────────────────────────────────────
    trainer = make_trainer(config, tokenizer)
    with contextlib.ExitStack() as stack:
        stack.enter_context(jax.set_mesh(trainer.mesh))
        stack.callback(checkpoints.close)
        state = initial_state(config, trainer, checkpoints)
        start = int(state.step)
        if jax.process_index() == 0:
            experiment.keep_tokenizer(config, workdir)
            (workdir / "config.json").write_text(json.dumps(meta, indent=1))
        _log_parameters(trainer, state)
        writer = stack.enter_context(contextlib.closing(MetricWriter(workdir, resume_step=start)))
        quarantine = stack.enter_context(Quarantine(_quarantine_path(workdir)))
        batches = make_batches(
            ExampleStore.concatenate(list(stores.values())),
            lambda step: plan.local_rows(step, jax.process_index(), jax.process_count()),
            tokenizer,
            experiment.layout_rules(config),
            RowShape(config.layout.row_tokens, config.layout.row_patches),
            steps=config.train.steps,
            start_step=start,
            threads=config.data.workers,
            prefetch_rows=2 * config.train.batch_rows,
        )
        stack.enter_context(contextlib.closing(batches))

        # ── Steps. ──────────────────────────────────────────────────────────────────────────────
        meter = _Meter(config)
        for step in range(start + 1, config.train.steps + 1):
            with meter.waiting():
                batch = next(batches)
            for failure in batch.failures:
                quarantine.add(stage="decode", **failure)
            arrays = put_batch(device_arrays(batch), trainer.mesh)
            with jax.transfer_guard("disallow"):
                state, metrics = trainer.step(state, arrays)
            meter.add(batch, metrics)
            last = step == config.train.steps
            scalars: dict[str, float] = {}
            if last or step % config.train.log_every == 0:
                scalars |= meter.summary(step)
            every = config.train.evaluate_every
            if evaluate and every and (last or step % every == 0):
                model = LoadedModel(
                    trainer.graphdef,
                    state.params,
                    trainer.mesh,
                    tokenizer,
                    meta["frames"],
                    step,
                    meta["config"],
                    workdir,
                )
                with meter.paused():
                    scalars |= evaluate(model)
            if scalars:
                writer.write(step, scalars)
            if last or step % config.train.checkpoint_every == 0:
                optimizer = {"opt_state": state.opt_state, "step": state.step}
                checkpoints.save(step, state.params, optimizer, {**meta, "step": step})
        checkpoints.wait()


def with_schedule(config: ConfigDict, stores: Mapping[str, ExampleStore]) -> ConfigDict:
    """The config with `train.batch_rows` and `train.steps` worked out where they are 0.

    batch_rows then holds about `train.batch_examples` examples, so that runs whose examples differ
    in size take equally many at each step and the cheaper one takes fewer rows. steps then covers
    `train.epochs`. Raises ConfigError where neither of a pair is given.
    """
    for key, source in (("steps", "epochs"), ("batch_rows", "batch_examples")):
        if config.train[key] <= 0 and config.train[source] <= 0:
            raise experiment.ConfigError(f"set config.train.{key} or config.train.{source}")
    config = config.copy_and_resolve_references()
    train = config.train
    shards = train.accumulate * batch_shards(make_mesh(config.mesh))
    if train.batch_rows <= 0:
        examples_per_row = batch_plan(config, stores, batch_rows=1).pack_plan(0).examples_per_row
        train.batch_rows = shards * max(1, round(train.batch_examples / examples_per_row / shards))
    if train.steps <= 0:
        rows = batch_plan(config, stores).pack_plan(0).rows
        train.steps = math.ceil(train.epochs * rows / train.batch_rows)
    return config


def batch_plan(
    config: ConfigDict, stores: Mapping[str, ExampleStore], *, batch_rows: int | None = None
) -> BatchPlan:
    """The packed rows of every step: a function of the indexes, the mixture and the seed alone."""
    return BatchPlan(
        {name: SourceSizes(store.tokens, store.patches) for name, store in stores.items()},
        {name: config.data.train[name].weight for name in stores},
        batch_rows=batch_rows or config.train.batch_rows,
        seed=config.seed,
        max_tokens=config.layout.row_tokens,
        max_patches=config.layout.row_patches,
        window=config.train.pack_window,
    )


def make_trainer(config: ConfigDict, tokenizer: ChatTokenizer) -> Trainer:
    """The model and its optimiser on the config's mesh.

    Raises ConfigError where batch rows, microbatches and devices do not divide.
    """
    family = experiment.family(config)
    model_config = experiment.model_config(config, tokenizer)
    mesh = make_mesh(config.mesh)
    shards = batch_shards(mesh)
    if config.train.batch_rows % (config.train.accumulate * shards):
        raise experiment.ConfigError(
            f"config.train.batch_rows = {config.train.batch_rows} must be a multiple of "
            f"config.train.accumulate × data × fsdp = {config.train.accumulate} × {shards}"
        )
    return Trainer(
        build=lambda: family.Model(model_config, rngs=nnx.Rngs(config.seed)),
        component_of=family.component_of,
        parts=trainable_parts(config.optimizer.learning_rate),
        optimizer=make_optimizer(config.optimizer, config.train.steps, family.component_of),
        rules=tuple(family.partition_rules()),
        mesh=mesh,
        accumulate=config.train.accumulate,
        loss_chunk=config.train.loss_chunk,
    )


def initial_state(config: ConfigDict, trainer: Trainer, checkpoints: Checkpoints) -> TrainState:
    """The state to go on from: this run's newest checkpoint, another run's parameters, those of
    `config.model.path`, or fresh ones.

    Raises ConfigError when the workdir is already past `config.train.steps`.
    """
    step = checkpoints.latest()
    if step is not None:
        if step > config.train.steps:
            raise experiment.ConfigError(
                f"config.train.steps = {config.train.steps}, but {checkpoints.directory} is at "
                f"step {step}: take another workdir or more steps"
            )
        logging.info("resuming from step %d of %s", step, checkpoints.directory)
        like = trainer.abstract_state
        optimizer = checkpoints.restore_optimizer({"opt_state": like.opt_state, "step": like.step})
        return trainer.state(checkpoints.restore_params(like.params), **optimizer)
    like = trainer.abstract_state.params
    if not config.train.init_from and config.model.path:
        family, shape = experiment.family(config), experiment.architecture(config)
        return trainer.init(load_params(family, shape, experiment.model_dir(config), like))
    if not config.train.init_from:
        return trainer.init()
    source = Checkpoints(config.train.init_from, read_only=True)
    logging.info("starting from step %s of %s", source.latest(), source.directory)
    params = source.restore_params(like)
    source.close()
    return trainer.init(params)


def _quarantine_path(workdir: Path) -> Path:
    process = f"-{jax.process_index()}" if jax.process_count() > 1 else ""
    return workdir / f"quarantine{process}.jsonl"


class _Meter:
    """Sums over the steps since the last log line: loss, speed, fill, waiting, what was masked."""

    def __init__(self, config: ConfigDict):
        self._config = config
        self._begin = time.monotonic()
        self._first_log: tuple[int, float] | None = None
        self._reset()

    def _reset(self) -> None:
        self._start = time.monotonic()
        self._wait = 0.0
        self._steps = 0
        self._metrics: StepMetrics | None = None
        self._sums = dict.fromkeys(("examples", "tokens", "visual_tokens", "patches", "masked"), 0)

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Times what the step spends waiting for its batch."""
        start = time.monotonic()
        yield
        self._wait += time.monotonic() - start

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Keeps what is not training out of the speeds."""
        start = time.monotonic()
        yield
        self._start += time.monotonic() - start

    def add(self, batch: Batch, metrics: StepMetrics) -> None:
        """Counts one step; the metrics stay on the device until they are wanted."""
        self._steps += 1
        self._metrics = metrics if self._metrics is None else self._metrics.merge(metrics)
        self._sums["examples"] += sum(map(len, batch.example_ids))
        self._sums["tokens"] += int(np.count_nonzero(batch.segment_ids))
        self._sums["visual_tokens"] += int(np.count_nonzero(batch.visual_index[..., 0] >= 0))
        self._sums["patches"] += int(np.count_nonzero(batch.patch_frames))
        self._sums["masked"] += len(batch.failures)

    def summary(self, step: int) -> dict[str, float]:
        """Scalars of the steps since the last call, which are also logged. Counts are this
        process's, times the number of processes."""
        scalars = jax.device_get(self._metrics).compute()
        seconds = time.monotonic() - self._start
        hosts, rows = jax.process_count(), self._config.train.batch_rows * self._steps
        for name in ("examples", "tokens", "visual_tokens"):
            scalars[f"{name}_per_second"] = self._sums[name] * hosts / seconds
        layout = self._config.layout
        scalars["token_fill"] = self._sums["tokens"] * hosts / (rows * layout.row_tokens)
        scalars["patch_fill"] = self._sums["patches"] * hosts / (rows * layout.row_patches)
        scalars["data_wait_fraction"] = self._wait / seconds
        scalars["masked"] = self._sums["masked"] * hosts
        scalars["seconds"] = time.monotonic() - self._begin
        self._log(step, scalars)
        self._reset()
        return scalars

    def _log(self, step: int, scalars: Mapping[str, float]) -> None:
        # The first interval holds the compilation, so the remaining time comes from later ones.
        left = ""
        if self._first_log:
            first_step, first_time = self._first_log
            rate = (time.monotonic() - first_time) / (step - first_step)
            left = f", {duration(rate * (self._config.train.steps - step))} left"
        else:
            self._first_log = (step, time.monotonic())
        logging.info(
            "step %d of %d: loss %.3f, answer tokens right %.0f %%, %.1f examples/s, "
            "waited for data %.0f %%%s%s",
            step,
            self._config.train.steps,
            scalars["loss"],
            100 * scalars["token_accuracy"],
            scalars["examples_per_second"],
            100 * scalars["data_wait_fraction"],
            f", {scalars['masked']:.0f} masked" if scalars["masked"] else "",
            left,
        )


def _log_plan(config: ConfigDict, plan: BatchPlan) -> None:
    pack = plan.pack_plan(0)
    logging.info(
        "an epoch: %d rows of %d tokens and %d patches, %.1f examples a row, filled %.1f %% and "
        "%.1f %%; %d steps of %d rows are %.2f epochs",
        *(pack.rows, pack.max_tokens, pack.max_patches, pack.examples_per_row),
        *(100 * pack.token_fill, 100 * pack.patch_fill),
        *(config.train.steps, config.train.batch_rows),
        config.train.steps * config.train.batch_rows / pack.rows,
    )


def _log_parameters(trainer: Trainer, state: TrainState) -> None:
    counts: dict[str, int] = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(state.params)[0]:
        part = trainer.component_of(path_string(path))
        counts[part] = counts.get(part, 0) + leaf.size
    logging.info(
        "%s parameters: %s",
        f"{sum(counts.values()):,}",
        ", ".join(
            f"{part} {count:,}{'' if part in trainer.parts else ' (frozen)'}"
            for part, count in counts.items()
        ),
    )
