"""What training is set up from: the schedule, the rows of every step, the model and its state."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import jax
import numpy as np
from absl import logging
from flax import nnx

from input_pipeline.index import ExampleStore
from vsft_jax import lora
from vsft_jax.checkpoints import Checkpoints
from vsft_jax.config import Run, refuse, training_row_problems
from vsft_jax.errors import ConfigError
from vsft_jax.huggingface import load_params
from vsft_jax.lora import Lora, ModelBuilder
from vsft_jax.parameters import flatten
from vsft_jax.row_plan import batch_plan
from vsft_jax.sharding import abstract_model, batch_shards, make_mesh
from vsft_jax.train.optimizer import make_optimizer, trainable
from vsft_jax.train.remedies import Remedies
from vsft_jax.train.resume import recent_losses
from vsft_jax.train.step import Trainer, TrainState


def with_schedule(run: Run, stores: Mapping[str, ExampleStore]) -> Run:
    """The run with `train.batch_rows` and `train.steps` worked out where they are 0.

    batch_rows then holds about `train.batch_examples` examples, so that runs whose examples differ
    in size take equally many at each step and the cheaper one takes fewer rows. steps then covers
    `train.epochs`. Raises ConfigError where neither of a pair is given.
    """
    train = run.config.train
    for key, source in (("steps", "epochs"), ("batch_rows", "batch_examples")):
        if train[key] <= 0 and train[source] <= 0:
            raise ConfigError(f"set config.train.{key} or config.train.{source}")
    rows, steps = train.batch_rows, train.steps
    if rows <= 0:
        shards = train.accumulate * batch_shards(make_mesh(run.config.mesh))
        examples_per_row = batch_plan(run, stores, batch_rows=1).pack_plan(0).examples_per_row
        rows = shards * max(1, round(train.batch_examples / examples_per_row / shards))
    if steps <= 0:
        packed = batch_plan(run, stores, batch_rows=rows).pack_plan(0).rows
        steps = math.ceil(train.epochs * packed / rows)
    return run.with_settings(train={"batch_rows": rows, "steps": steps})


def make_trainer(
    run: Run, devices: Sequence[jax.Device] | None = None, *, abstract: bool = False
) -> Trainer:
    """The model and its optimiser on the config's mesh.

    devices: of the mesh; all by default. abstract: for shapes alone, so that no tokenizer is needed
    for the special tokens' ids. Raises ConfigError where batch rows, microbatches and devices do
    not divide, or nothing trains.
    """
    family, train = run.family, run.config.train
    model_config = run.architecture if abstract else run.model_config
    build = ModelBuilder(family, model_config, run.lora, run.config.seed)
    mesh = make_mesh(run.config.mesh, devices)
    refuse(training_row_problems(run, batch_shards(mesh)))
    rules = tuple(lora.partition_rules(family.partition_rules()))
    paths = flatten(abstract_model(build, rules, mesh)[1])
    remedies = Remedies.of(run.config)
    return Trainer(
        build=build,
        trains=trainable(run.config, paths, family.component_of),
        optimizer=make_optimizer(run.config.optimizer, family.component_of, remedies),
        steps=train.steps,
        rules=rules,
        mesh=mesh,
        accumulate=train.accumulate,
        loss_chunk=train.loss_chunk,
        skip_loss_above=train.skip_loss_above,
        router_coef=run.router_coef,
        remedies=remedies,
        tpu_options=train.tpu_options.to_dict(),
    )


def initial_state(run: Run, trainer: Trainer, checkpoints: Checkpoints) -> TrainState:
    """The state to go on from: this run's newest checkpoint, another run's parameters, those of
    `config.model.path`, or fresh ones.

    Raises ConfigError when the workdir is already past `config.train.steps`.
    """
    step = checkpoints.latest()
    if step is not None:
        if step > run.config.train.steps:
            raise ConfigError(
                f"config.train.steps = {run.config.train.steps}, but {checkpoints.directory} is at "
                f"step {step}: take another workdir or more steps"
            )
        logging.info("resuming from step %d of %s", step, checkpoints.directory)
        state = trainer.abstract_state
        optimizer = checkpoints.restore_optimizer(
            {"opt_state": state.opt_state, "step": state.step}
        )
        recent = recent_losses(checkpoints.meta(), state.recent_losses)
        steps = jax.device_put(np.int32(trainer.steps), state.steps.sharding)
        params = checkpoints.restore_params(state.params)
        return trainer.parted(params, **optimizer, steps=steps, recent_losses=recent)
    if run.config.train.init_from:
        return trainer.init(_params_of_run(run, trainer))
    if directory := run.model_directory:
        build = dataclasses.replace(trainer.build, lora=None)
        like = abstract_model(build, trainer.rules, trainer.mesh)[1]
        return trainer.init(load_params(build.family, build.config, directory, like))
    return trainer.init()


def _params_of_run(run: Run, trainer: Trainer) -> nnx.State:
    """The parameters of the last checkpoint of `config.train.init_from`.

    Its adapters go on as they are if the trainer's are of the same kind; else their effect goes
    into the matrices, so that training starts from the same function.
    """
    train = run.config.train
    source = Checkpoints(train.init_from, read_only=True, verify=train.verify_checkpoints)
    logging.info("starting from step %s of %s", source.latest(), source.directory)
    adapters = Lora.of_checkpoint(source.meta())
    build = dataclasses.replace(trainer.build, lora=adapters)
    graphdef, like = abstract_model(build, trainer.rules, trainer.mesh)
    params = source.restore_params(like)
    source.close()
    if adapters and adapters != trainer.build.lora:
        logging.info("merging its adapters (%s) into the matrices", adapters)
        params = lora.merge(graphdef, params)
    return params
