"""The training job, from a run to a finished checkpoint."""

import collections
import contextlib
import dataclasses
import functools
import json
import time
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any

import jax
from absl import logging
from flax import nnx

from input_pipeline.batches import Batch, device_arrays, make_batches
from input_pipeline.files import write_atomically
from input_pipeline.index import BadFraction, ExampleStore, Quarantine
from input_pipeline.progress import Progress, duration
from vsft_jax import lora
from vsft_jax.checkpoints import Checkpoints
from vsft_jax.config import Run, check_before_training
from vsft_jax.inference import LoadedModel
from vsft_jax.prepare import prepare_training
from vsft_jax.processes import is_first
from vsft_jax.sharding import local_rows, put_batch
from vsft_jax.train.log import log_mix, log_parameters, log_plan
from vsft_jax.train.meter import Meter
from vsft_jax.train.metrics import StepMetrics
from vsft_jax.train.optimizer import learning_rates
from vsft_jax.train.preemption import Preempted, PreemptionWatch
from vsft_jax.train.record import Record, Tracked, Trackers, check_trackers, make_trackers
from vsft_jax.train.resume import check_unchanged, schedule_of
from vsft_jax.train.setup import batch_plan, initial_state, make_trainer, with_schedule
from vsft_jax.train.step import Trainer, TrainState

# Steps whose batches are on the devices at a time: the next one is there when one ends, and no more
# memory is taken.
STEPS_AHEAD = 2

Evaluate = Callable[[LoadedModel], Mapping[str, float]]


def train(run: Run, evaluate: Evaluate | None = None) -> None:
    """Trains for `config.train.steps` steps, resuming from the workdir's newest checkpoint.

    Leaves checkpoints/, train.jsonl, config.json, what the trackers write and, where media failed
    to decode, quarantine.jsonl in the workdir. evaluate: called every `config.train.evaluate_every`
    steps with the model as it is; its scalars are recorded under that step.

    Raises Preempted (a SystemExit) after SIGTERM, when the step under way is done and saved, and
    RecordError when train.jsonl cannot be written.
    """
    check_trackers(run.config.train.trackers)
    with contextlib.ExitStack() as stack:
        job = _begin(run, stack)
        if job is None:
            return
        steps, begun = job.run.config.train.steps, int(job.state.step)
        with Progress("train", steps, unit="steps", done=begun, lines=False) as progress:
            _steps(job, evaluate, progress)
        logging.info(
            "trained %d steps: the model is in %s", steps, job.checkpoints.directory / str(steps)
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Job:
    """A training that is ready to take its next step.

    state: at the step to go on from. batches: those of the steps that are left, of which this
    process has its own rows. evaluated: the model as evaluations see it. meta: what every
    checkpoint says of the run.
    """

    run: Run
    trainer: Trainer
    state: TrainState
    batches: Generator[Batch]
    evaluated: nnx.GraphDef
    meta: dict[str, Any]
    checkpoints: Checkpoints
    record: Record | None  # None but in process 0, which writes what all of them found
    trackers: Trackers
    quarantine: Quarantine
    preemption: PreemptionWatch


def _begin(run: Run, stack: contextlib.ExitStack) -> _Job | None:
    """Prepares data and model. None where the run has all its steps. stack: closes everything."""
    check_before_training(run)
    prepared = prepare_training(run)
    stores = prepared.stores()
    checkpoints = Checkpoints(run.workdir, keep=run.config.train.keep_checkpoints)
    stack.callback(checkpoints.close)
    begun = checkpoints.meta() if checkpoints.latest() is not None else None
    if begun:
        run = schedule_of(run, begun["config"])
    run = with_schedule(run, stores)
    if begun:
        check_unchanged(run, prepared.frame_policy, begun)
    plan = batch_plan(run, stores)
    log_plan(run, plan)
    log_mix(run, stores)
    if checkpoints.latest() == run.config.train.steps:
        logging.info("%s: already trained, step %d", run.workdir, run.config.train.steps)
        return None

    trainer = make_trainer(run)
    stack.enter_context(jax.set_mesh(trainer.mesh))
    state = initial_state(run, trainer, checkpoints)
    log_parameters(run, state)
    start = int(state.step)
    meta = {"config": run.as_json, "frames": prepared.frame_policy}
    if is_first():
        run.keep_tokenizer()
        write_atomically(run.workdir / "config.json", json.dumps(meta, indent=1))
    here = local_rows(trainer.mesh, run.config.train.batch_rows)
    batches = make_batches(
        ExampleStore.concatenate(list(stores.values())),
        lambda step: plan.local_rows(step, here),
        run.tokenizer,
        run.layout,
        run.row_shape,
        steps=run.config.train.steps,
        start_step=start,
        decoder=run.decoder,
        threads=run.config.data.workers,
    )
    record, trackers = None, Trackers({})
    if is_first():
        record = stack.enter_context(contextlib.closing(Record(run.workdir, resume_step=start)))
        trackers = make_trackers(
            run.config.train.trackers, Tracked(run.workdir, run.as_json, resume_step=start)
        )
    return _Job(
        run=run,
        trainer=trainer,
        state=state,
        batches=stack.enter_context(contextlib.closing(batches)),
        evaluated=lora.for_evaluation(run.config, trainer.graphdef, state.params),
        meta=meta,
        checkpoints=checkpoints,
        record=record,
        trackers=stack.enter_context(contextlib.closing(trackers)),
        quarantine=stack.enter_context(Quarantine(_quarantine_path(run.workdir))),
        preemption=stack.enter_context(PreemptionWatch()),
    )


def _steps(job: _Job, evaluate: Evaluate | None, progress: Progress) -> None:
    """Takes the steps that are left; logs, saves and evaluates where they are due."""
    settings, rates = job.run.config.train, learning_rates(job.run.config)
    meter = Meter(job.run)
    bad = BadFraction(job.run.config.data.max_bad_fraction, job.quarantine.path)
    state, begin = job.state, int(job.state.step)
    started: collections.deque[StepMetrics] = collections.deque()
    for step in range(begin + 1, settings.steps + 1):
        with meter.waiting():
            batch = next(job.batches)
        for failure in batch.failures:
            job.quarantine.add(stage="decode", **failure)
        if len(started) == STEPS_AHEAD:
            jax.block_until_ready(started.popleft())
        arrays = put_batch(device_arrays(batch), job.trainer.mesh, settings.batch_rows)
        take = job.trainer.step if step > begin + 1 else functools.partial(_first_step, job.trainer)
        with jax.transfer_guard("disallow"):
            state, metrics = take(state, arrays)
        started.append(metrics)
        meter.add(batch, metrics)
        progress.reach(step)

        preempted = job.preemption.reached(step)
        ends = preempted or step == settings.steps
        if ends or step % settings.checkpoint_every == 0:
            optimizer = {"opt_state": state.opt_state, "step": state.step}
            job.checkpoints.save(step, state.params, optimizer, {**job.meta, "step": step})
        scalars: dict[str, float] = {}
        if ends or step % settings.log_every == 0:
            scalars |= meter.summary(step) | {name: rate(step - 1) for name, rate in rates.items()}
            bad.add(int(scalars["masked"]), int(scalars["examples"]))
        # After the save: an evaluation that fails or is cut short costs no training.
        every = settings.evaluate_every
        if evaluate and every and not preempted and (ends or step % every == 0):
            with meter.paused():
                scalars |= evaluate(_loaded(job, state, step))
        if scalars and job.record:
            job.record.write(step, scalars)
            job.trackers.log(step, scalars)
        if preempted:
            job.checkpoints.wait()
            where = job.run.workdir
            logging.info("preempted: saved step %d of %s; start again to go on", step, where)
            raise Preempted
    job.checkpoints.wait()


def _first_step(
    trainer: Trainer, state: TrainState, arrays: Mapping[str, jax.Array]
) -> tuple[TrainState, StepMetrics]:
    """The step that takes long, and says so."""
    logging.info("compiling the step…")
    start = time.monotonic()
    state, metrics = trainer.step(state, arrays)
    jax.block_until_ready(metrics)
    logging.info("the first step took %s with its compilation", duration(time.monotonic() - start))
    return state, metrics


def _loaded(job: _Job, state: TrainState, step: int) -> LoadedModel:
    """The model as it is after a step, as a checkpoint of it would be loaded."""
    return LoadedModel(
        graphdef=job.evaluated,
        params=state.params,
        mesh=job.trainer.mesh,
        tokenizer=job.run.tokenizer,
        frame_policy=job.meta["frames"],
        step=step,
        trained_config=job.meta["config"],
        source=job.run.workdir,
    )


def _quarantine_path(workdir: Path) -> Path:
    process = f"-{jax.process_index()}" if jax.process_count() > 1 else ""
    return workdir / f"quarantine{process}.jsonl"
