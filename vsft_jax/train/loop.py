"""The training job, from a config to a finished checkpoint, in one readable function."""

import dataclasses
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging
from clu import parameter_overview
from ml_collections import ConfigDict

from input_pipeline.batches import Batch, device_arrays, train_batches
from input_pipeline.chat import ChatTokenizer
from input_pipeline.index import ExampleStore
from input_pipeline.packing import BatchPlan
from input_pipeline.progress import duration
from input_pipeline.quarantine import Quarantine
from vsft_jax import experiment
from vsft_jax.train.checkpoints import Checkpoints
from vsft_jax.train.metrics import MetricWriter, StepMetrics
from vsft_jax.train.optimizer import make_optimizer, trainable_parts
from vsft_jax.train.sharding import make_mesh, put_batch
from vsft_jax.train.step import Trainer, TrainState

Evaluate = Callable[[int, Any], Mapping[str, float]]  # (step, params) → scalars


def train(config: ConfigDict, workdir: str | Path, evaluate: Evaluate | None = None) -> None:
    """Trains for `config.train.steps` steps, resuming from the workdir's newest checkpoint.

    Leaves checkpoints/, train.jsonl, tensorboard/ and config.json in the workdir. evaluate: called
    every `config.train.evaluate_every` steps; its scalars are recorded with the step's.
    """
    workdir = Path(workdir).absolute()
    workdir.mkdir(parents=True, exist_ok=True)
    checkpoints = Checkpoints(workdir, keep=config.train.keep_checkpoints)
    if checkpoints.latest() == config.train.steps:
        logging.info("%s is trained: step %d of it", workdir, config.train.steps)
        checkpoints.close()
        return

    # ── Data: prepared indexes, and from them the rows of every step. ──────────────────────────
    prepared = experiment.prepare_training(config, workdir)
    tokenizer = ChatTokenizer.load(experiment.tokenizer_dir(config, workdir))
    store = ExampleStore.open(list(prepared.paths.values()))
    plan = batch_plan(config, prepared)
    meta = {"config": json.loads(config.to_json_best_effort()), "frames": prepared.frames}
    (workdir / "config.json").write_text(json.dumps(meta, indent=1))

    # ── Model and state. ────────────────────────────────────────────────────────────────────────
    trainer = make_trainer(config, tokenizer)
    with jax.set_mesh(trainer.mesh):
        state = initial_state(config, trainer, checkpoints)
        start_step = int(state.step)
        _log_parameters(trainer, state)
        writer = MetricWriter(workdir, resume_step=start_step)
        quarantine = Quarantine(workdir / "quarantine.jsonl")
        batches = train_batches(
            lambda step: plan.local_rows(step, jax.process_index(), jax.process_count()),
            store,
            tokenizer,
            experiment.layout_spec(config),
            row_tokens=config.layout.row_tokens,
            row_patches=config.layout.row_patches,
            steps=range(start_step, config.train.steps),
            workers=config.data.workers,
        )

        # ── Steps. ──────────────────────────────────────────────────────────────────────────────
        meter = _Meter(config, start_step)
        for step in range(start_step + 1, config.train.steps + 1):
            with meter.waiting():
                batch = next(batches)
            for failure in batch.failures:
                quarantine.add(**failure)
            arrays = put_batch(device_arrays(batch), trainer.mesh)
            with jax.transfer_guard("disallow"):
                state, metrics = trainer.step(state, arrays)
            meter.add(batch, metrics)
            if step % config.train.log_every == 0 or step == config.train.steps:
                writer.write(step, meter.summary(step))
            if evaluate and config.train.evaluate_every and _due(
                step, config.train.evaluate_every, config.train.steps
            ):
                writer.write(step, evaluate(step, state.params))
            if _due(step, config.train.checkpoint_every, config.train.steps):
                checkpoints.save(step, state.params, _optimizer_item(state), {**meta, "step": step})
        batches.close()
        checkpoints.wait()
    quarantine.close()
    writer.close()
    checkpoints.close()


def batch_plan(config: ConfigDict, prepared: experiment.Prepared) -> BatchPlan:
    """The packed rows of every step: a function of the indexes, the mixture and the seed."""
    ...


def make_trainer(config: ConfigDict, tokenizer: ChatTokenizer) -> Trainer:
    """The model and its optimiser on the config's mesh.

    Raises ConfigError where batch rows, microbatches and devices do not divide.
    """
    from flax import nnx

    family = experiment.family(config)
    model_config = experiment.model_config(config, tokenizer)
    mesh = make_mesh(config.mesh)
    per_microbatch, left = divmod(config.train.batch_rows, config.train.accumulate)
    shards = mesh.shape["data"] * mesh.shape["fsdp"]
    if left or per_microbatch % shards:
        raise experiment.ConfigError(
            f"config.train.batch_rows = {config.train.batch_rows} must be a multiple of "
            f"config.train.accumulate × data × fsdp = {config.train.accumulate} × {shards}"
        )
    return Trainer(
        build=lambda: family.Model(model_config, rngs=nnx.Rngs(config.seed)),
        component_of=family.component_of,
        parts=trainable_parts(config.optimizer.learning_rate),
        optimizer=make_optimizer(config.optimizer, config.train.steps, family.component_of),
        rules=family.partition_rules(),
        mesh=mesh,
        accumulate=config.train.accumulate,
        loss_chunk=config.train.loss_chunk,
    )
