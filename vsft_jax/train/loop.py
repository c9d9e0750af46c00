"""The training job, from a config to a finished checkpoint."""

import collections
import contextlib
import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import jax
from absl import logging
from flax import nnx
from ml_collections import ConfigDict

from input_pipeline.batches.mixture import realised_mix
from input_pipeline.batches.plan import BatchPlan, SourceSizes
from input_pipeline.batches.rows import RowShape, device_arrays, make_batches
from input_pipeline.index.prepare import ExampleStore
from input_pipeline.index.quarantine import BadFraction, Quarantine
from input_pipeline.text.chat_tokenizer import ChatTokenizer
from vsft_jax import experiment, lora
from vsft_jax.checkpoints import Checkpoints, flatten
from vsft_jax.huggingface.load import load_params
from vsft_jax.inference.answer import LoadedModel
from vsft_jax.lora import Lora, ModelBuilder
from vsft_jax.sharding import abstract_model, batch_shards, local_rows, make_mesh, put_batch
from vsft_jax.train.meter import Meter
from vsft_jax.train.metrics import MetricWriter, StepMetrics
from vsft_jax.train.optimizer import make_optimizer, trainable
from vsft_jax.train.preemption import Preempted, PreemptionWatch
from vsft_jax.train.resume import check_unchanged, schedule_of
from vsft_jax.train.step import Trainer, TrainState

UNEVEN_FILL = 0.1  # between tokens and patches; beyond it the log tells how to do better
# Steps whose batches are on the devices at a time: the next one is there when one ends, and no more
# memory is taken.
STEPS_AHEAD = 2

Evaluate = Callable[[LoadedModel], Mapping[str, float]]


def train(config: ConfigDict, workdir: str | Path, evaluate: Evaluate | None = None) -> None:
    """Trains for `config.train.steps` steps, resuming from the workdir's newest checkpoint.

    Leaves checkpoints/, train.jsonl, tensorboard/, config.json and, where media failed to decode,
    quarantine.jsonl in the workdir. evaluate: called every `config.train.evaluate_every` steps
    with the model as it is; its scalars are recorded under that step.

    Raises Preempted (a SystemExit) after SIGTERM, when the step under way is done and saved.
    """
    workdir = Path(workdir).absolute()

    # ── Data: prepared indexes, and from them the rows of every step. ──────────────────────────
    prepared = experiment.prepare_training(config, workdir)
    tokenizer = experiment.load_tokenizer(config, workdir)
    stores = {name: ExampleStore.open(path) for name, path in prepared.paths.items()}
    checkpoints = Checkpoints(workdir, keep=config.train.keep_checkpoints)
    begun = checkpoints.meta() if checkpoints.latest() is not None else None
    if begun:
        config = schedule_of(config, begun["config"])
    config = with_schedule(config, stores)
    if begun:
        check_unchanged(config, prepared.frames, begun, workdir)
    plan = batch_plan(config, stores)
    _log_plan(config, plan)
    _log_mix(config, stores)
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
        _log_parameters(config, state)
        evaluated = lora.for_evaluation(config, trainer.graphdef, state.params)
        writer = stack.enter_context(contextlib.closing(MetricWriter(workdir, resume_step=start)))
        quarantine = stack.enter_context(Quarantine(_quarantine_path(workdir)))
        rows = config.train.batch_rows
        here = local_rows(trainer.mesh, rows)
        batches = make_batches(
            ExampleStore.concatenate(list(stores.values())),
            lambda step: plan.local_rows(step, here),
            tokenizer,
            experiment.layout_rules(config),
            RowShape(config.layout.row_tokens, config.layout.row_patches),
            steps=config.train.steps,
            start_step=start,
            decoder=experiment.media_decoder(config),
            threads=config.data.workers,
        )
        stack.enter_context(contextlib.closing(batches))
        preemption = stack.enter_context(PreemptionWatch())

        # ── Steps. ──────────────────────────────────────────────────────────────────────────────
        meter = Meter(config)
        started: collections.deque[StepMetrics] = collections.deque()
        bad = BadFraction(config.data.max_bad_fraction, quarantine.path)
        for step in range(start + 1, config.train.steps + 1):
            with meter.waiting():
                batch = next(batches)
            for failure in batch.failures:
                quarantine.add(stage="decode", **failure)
            if len(started) == STEPS_AHEAD:
                jax.block_until_ready(started.popleft())
            arrays = put_batch(device_arrays(batch), trainer.mesh, rows)
            with jax.transfer_guard("disallow"):
                state, metrics = trainer.step(state, arrays)
            started.append(metrics)
            meter.add(batch, metrics)
            last = step == config.train.steps
            preempted = preemption.reached(step)
            scalars: dict[str, float] = {}
            if last or preempted or step % config.train.log_every == 0:
                scalars |= meter.summary(step)
                bad.add(int(scalars["masked"]), int(scalars["examples"]))
            if last or preempted or step % config.train.checkpoint_every == 0:
                optimizer = {"opt_state": state.opt_state, "step": state.step}
                checkpoints.save(step, state.params, optimizer, {**meta, "step": step})
            # After the save: an evaluation that fails or is cut short costs no training.
            every = config.train.evaluate_every
            if evaluate and every and (last or step % every == 0) and not preempted:
                model = LoadedModel(
                    evaluated,
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
            if preempted:
                checkpoints.wait()
                logging.info("preempted: saved step %d of %s; start again to go on", step, workdir)
                raise Preempted
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
        mixture_weights(config, stores),
        batch_rows=batch_rows or config.train.batch_rows,
        seed=config.seed,
        max_tokens=config.layout.row_tokens,
        max_patches=config.layout.row_patches,
        window=config.train.pack_window,
    )


def mixture_weights(config: ConfigDict, stores: Mapping[str, ExampleStore]) -> dict[str, float]:
    """How often an epoch takes each example of a source, on average."""
    sizes = {name: len(store) for name, store in stores.items()}
    tokens = {name: int(store.tokens.sum()) for name, store in stores.items()}
    try:
        return experiment.mixture(config).weights(sizes, tokens)
    except ValueError as error:
        raise experiment.ConfigError(f"config.data: {error}") from error


def make_trainer(
    config: ConfigDict,
    tokenizer: ChatTokenizer | None = None,
    devices: Sequence[jax.Device] | None = None,
) -> Trainer:
    """The model and its optimiser on the config's mesh.

    tokenizer: gives the special tokens' ids; without it they are the architecture's own. devices:
    of the mesh; all by default. Raises ConfigError where batch rows, microbatches and devices do
    not divide, or nothing trains.
    """
    family = experiment.family(config)
    if tokenizer is None:
        model_config = experiment.architecture(config)
    else:
        model_config = experiment.model_config(config, tokenizer)
    build = ModelBuilder(family, model_config, Lora.of(config.lora), config.seed)
    mesh = make_mesh(config.mesh, devices)
    shards = batch_shards(mesh)
    if config.train.batch_rows % (config.train.accumulate * shards):
        raise experiment.ConfigError(
            f"config.train.batch_rows = {config.train.batch_rows} must be a multiple of "
            f"config.train.accumulate × data × fsdp = {config.train.accumulate} × {shards}"
        )
    rules = tuple(lora.partition_rules(family.partition_rules()))
    paths = flatten(abstract_model(build, rules, mesh)[1])
    return Trainer(
        build=build,
        trains=trainable(config, paths, family.component_of).__contains__,
        optimizer=make_optimizer(config.optimizer, config.train.steps, family.component_of),
        rules=rules,
        mesh=mesh,
        accumulate=config.train.accumulate,
        loss_chunk=config.train.loss_chunk,
        tpu_options=config.train.tpu_options.to_dict(),
    )


def initial_state(config: ConfigDict, trainer: Trainer, checkpoints: Checkpoints) -> TrainState:
    """The state to go on from: this run's newest checkpoint, another run's parameters, those of
    `config.model.path`, or fresh ones.

    Raises ConfigError when the workdir is already past `config.train.steps`, or was trained with
    other adapters.
    """
    step = checkpoints.latest()
    if step is not None:
        if step > config.train.steps:
            raise experiment.ConfigError(
                f"config.train.steps = {config.train.steps}, but {checkpoints.directory} is at "
                f"step {step}: take another workdir or more steps"
            )
        if (saved := Lora.of_checkpoint(checkpoints.meta())) != trainer.build.lora:
            raise experiment.ConfigError(
                f"config.lora gives {trainer.build.lora}, but {checkpoints.directory} was trained "
                f"with {saved}: take another workdir"
            )
        logging.info("resuming from step %d of %s", step, checkpoints.directory)
        like = trainer.abstract_state
        optimizer = checkpoints.restore_optimizer({"opt_state": like.opt_state, "step": like.step})
        return trainer.state(checkpoints.restore_params(like.params), **optimizer)
    if config.train.init_from:
        return trainer.init(_params_of_run(config.train.init_from, trainer))
    if directory := experiment.model_dir(config):
        build = dataclasses.replace(trainer.build, lora=None)
        like = abstract_model(build, trainer.rules, trainer.mesh)[1]
        return trainer.init(load_params(build.family, build.config, directory, like))
    return trainer.init()


def _params_of_run(workdir: str, trainer: Trainer) -> nnx.State:
    """The parameters of a workdir's last checkpoint.

    Its adapters go on as they are if the trainer's are of the same kind; else their effect goes
    into the matrices, so that training starts from the same function.
    """
    source = Checkpoints(workdir, read_only=True)
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


def _quarantine_path(workdir: Path) -> Path:
    process = f"-{jax.process_index()}" if jax.process_count() > 1 else ""
    return workdir / f"quarantine{process}.jsonl"


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
    unit = experiment.layout_rules(config).patches_per_unit
    balanced = plan.balanced_patches(unit)
    if balanced and abs(pack.token_fill - pack.patch_fill) > UNEVEN_FILL:
        logging.info(
            "  config.layout.row_patches = %d would suit the examples as they are laid out now: "
            "tokens and patches would run out together",
            balanced,
        )


def _log_mix(config: ConfigDict, stores: Mapping[str, ExampleStore]) -> None:
    """What the first epoch is made of."""
    names = ("tokens", "visual_tokens")
    columns = {
        source: {name: getattr(store, name) for name in names} for source, store in stores.items()
    }
    mix = realised_mix(mixture_weights(config, stores), columns, config.seed)
    total = {key: max(sum(of[key] for of in mix.values()), 1) for key in ("examples", *names)}
    for source, of in mix.items():
        logging.info(
            "  %s: %d of %d examples (%.1f %%), %d tokens (%.1f %%), %d visual tokens (%.1f %%)",
            *(source, of["examples"], len(stores[source])),
            *(100 * of["examples"] / total["examples"], of["tokens"]),
            *(100 * of["tokens"] / total["tokens"], of["visual_tokens"]),
            100 * of["visual_tokens"] / total["visual_tokens"],
        )


def _log_parameters(config: ConfigDict, state: TrainState) -> None:
    component_of = experiment.family(config).component_of
    counts: dict[str, list[int]] = {}  # part → parameters that train, all
    for trains, params in ((True, state.trainable), (False, state.frozen)):
        for path, leaf in flatten(params).items():
            count = counts.setdefault(component_of(path), [0, 0])
            count[0] += leaf.size * trains
            count[1] += leaf.size
    logging.info(
        "%s parameters: %s",
        f"{sum(count for _, count in counts.values()):,}",
        ", ".join(
            f"{part} {count:,}"
            + ("" if trained == count else f" ({trained:,} train)" if trained else " (frozen)")
            for part, (trained, count) in counts.items()
        ),
    )
