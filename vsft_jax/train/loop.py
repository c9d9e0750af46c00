"""The training job, from a run to a finished checkpoint."""

import collections
import contextlib
import dataclasses
import json
import time
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any

import jax
from absl import logging
from flax import nnx

from input_pipeline.batches import Batch, device_arrays
from input_pipeline.files import write_atomically
from input_pipeline.index import BadFraction, ExampleStore, Quarantine
from input_pipeline.progress import Progress, duration
from vsft_jax import lora
from vsft_jax.checkpoints import Checkpoints, check_room, home, make_ready
from vsft_jax.config import Run, check_before_training
from vsft_jax.inference import LoadedModel
from vsft_jax.prepare import prepare_training
from vsft_jax.processes import first_finds, is_first
from vsft_jax.row_plan import planned_batches
from vsft_jax.sharding import local_rows, on_mesh, put_batch, rows_only
from vsft_jax.train.log import log_mix, log_parameters, log_plan
from vsft_jax.train.meter import Meter
from vsft_jax.train.metrics import StepMetrics
from vsft_jax.train.optimizer import learning_rates
from vsft_jax.train.preemption import Preempted, PreemptionWatch, command_to_go_on
from vsft_jax.train.record import (
    BadSteps,
    Goodput,
    Profile,
    Record,
    Tracked,
    Trackers,
    check_finite,
    check_trackers,
    is_evaluated,
    lost_seconds,
    make_trackers,
)
from vsft_jax.train.remedies.fisher import with_fisher
from vsft_jax.train.resume import changes, check_unchanged, saved_losses, schedule_of
from vsft_jax.train.setup import batch_plan, initial_state, make_trainer, with_schedule
from vsft_jax.train.step import Trainer, TrainState
from vsft_jax.train.watchdog import Peers, Watchdog
from vsft_jax.workdir_lock import working_in

# Steps whose batches are on the devices at a time: the next one is there when one ends, and no more
# memory is taken.
STEPS_AHEAD = 2

Evaluate = Callable[[LoadedModel], Mapping[str, float]]


def train(run: Run, evaluate: Evaluate | None = None) -> None:
    """Trains for `config.train.steps` steps, resuming from the workdir's newest checkpoint.

    Leaves checkpoints/, train.jsonl, config.json, what the trackers write and, where there were
    any, quarantine.jsonl (media that failed to decode) and bad_steps.jsonl in the workdir.
    evaluate: called every `config.train.evaluate_every` steps and after the last with the model as
    it is. Its scalars are recorded under that step; an evaluation that a killed run did not come
    to, or did not finish, is made up before the run goes on.

    Raises Preempted (a SystemExit) after SIGINT, SIGTERM or SIGHUP, when the step under way is done
    and saved, WorkdirInUse where another job works there, CheckpointError where no checkpoint of a
    run that goes on is whole or one cannot be written, RecordError when train.jsonl cannot be
    written, and Diverged when the loss stays other than finite.
    """
    goodput = Goodput()
    check_trackers(run.config.train.trackers)
    with contextlib.ExitStack() as stack:
        stack.enter_context(Peers())
        watch = stack.enter_context(PreemptionWatch())
        job = None
        try:
            with watch.interruptible(nothing_to_lose=True):
                job = _begin(run, stack, evaluate, watch, goodput)
            if job is not None:
                _go_on(job)
        except Preempted as told:
            if job is not None:
                _save(job, even_if_bad=True)
                job.checkpoints.wait()
                logging.info("%s", goodput.line())
            logging.info(
                "%s: %s; to go on: %s",
                told.signal.name,
                f"step {job.step} is saved" if job and job.step else "no step was taken",
                command_to_go_on(run.workdir),
            )
            raise
        if job is not None:
            folder = job.checkpoints.directory / str(job.step)
            logging.info("trained %d steps: the model is in %s", job.step, folder)
            logging.info("%s", goodput.line())


@dataclasses.dataclass(kw_only=True)
class _Job:
    """A training between two steps.

    state: after `step` steps. saved: whether it is in a checkpoint. begun: the step at which this
    process took it up. batches: those of the steps that are left, of which this process has its own
    rows. started: steps that the devices may still be at, and their metrics. evaluated: the model
    as evaluations see it. meta: what every checkpoint says of the run.
    """

    run: Run
    trainer: Trainer
    state: TrainState
    step: int
    begun: int
    saved: bool
    batches: Generator[Batch]
    evaluate: Evaluate | None
    evaluated: nnx.GraphDef
    meta: dict[str, Any]
    checkpoints: Checkpoints
    meter: Meter
    goodput: Goodput
    profile: Profile
    bad_steps: BadSteps
    record: Record | None  # None but in process 0, which writes what all of them found
    trackers: Trackers
    quarantine: Quarantine
    preemption: PreemptionWatch
    watchdog: Watchdog
    started: collections.deque[tuple[int, StepMetrics]] = dataclasses.field(
        default_factory=collections.deque
    )

    def write(self, scalars: Mapping[str, float]) -> None:
        """Records scalars of the step."""
        if self.record:
            self.record.write(self.step, scalars)
            self.trackers.log(self.step, scalars)


def _begin(
    run: Run,
    stack: contextlib.ExitStack,
    evaluate: Evaluate | None,
    watch: PreemptionWatch,
    goodput: Goodput,
) -> _Job | None:
    """Prepares data and model. None where nothing is left to do. stack: closes everything."""
    check_before_training(run)
    stack.enter_context(working_in(run.workdir, "train"))
    with goodput.spent("prepare"):
        prepared = prepare_training(run)
        stores = prepared.stores()
    with goodput.spent("restore"):
        make_ready(home(run.workdir), verify=run.config.train.verify_checkpoints)
    # Which has verified what is read now.
    keep = run.config.train.keep_checkpoints
    checkpoints = Checkpoints(run.workdir, keep=keep, verify=False)
    stack.callback(checkpoints.close)
    begun = checkpoints.meta() if checkpoints.latest() is not None else None
    changed: list[str] = []
    if begun:
        run = schedule_of(run, begun["config"])
    run = with_schedule(run, stores)
    if begun:
        check_unchanged(run, prepared.frame_policy, begun)
        changed = changes(run, begun)
    plan = batch_plan(run, stores)
    log_plan(run, plan)
    log_mix(run, stores)
    done = checkpoints.latest() == run.config.train.steps
    if done and not _lacks_evaluation(run, evaluate, run.config.train.steps):
        logging.info("%s: already trained, step %d", run.workdir, run.config.train.steps)
        if changed:
            logging.warning("the model stays as it is, though %s", "; ".join(changed))
        return None
    if changed:
        logging.info("going on with other settings than before: %s", "; ".join(changed))

    trainer = make_trainer(run)
    stack.enter_context(jax.set_mesh(trainer.mesh))
    check_room(checkpoints.directory, trainer.abstract_state)
    with goodput.spent("restore"):
        state = initial_state(run, trainer, checkpoints)
    log_parameters(run, state)
    start = int(state.step)
    if trainer.remedies.ewc and not start:
        state = with_fisher(run, trainer, state)
    meta = {"config": run.as_json, "frames": prepared.frame_policy}
    if is_first():
        run.keep_tokenizer()
        write_atomically(run.workdir / "config.json", json.dumps(meta, indent=1))
    here = local_rows(trainer.mesh, run.config.train.batch_rows)
    store = ExampleStore.concatenate(list(stores.values()))
    steps = run.config.train.steps
    batches = planned_batches(run, store, plan, here, steps=steps, start_step=start)
    record, trackers, lost = None, Trackers({}), 0.0
    if is_first():
        if begun and "meter" in begun:
            lost = lost_seconds(run.workdir / "train.jsonl", start, begun["meter"]["seconds"])
        record = stack.enter_context(contextlib.closing(Record(run.workdir, resume_step=start)))
        trackers = make_trackers(
            run.config.train.trackers, Tracked(run.workdir, run.as_json, resume_step=start)
        )
    goodput.go_on(begun.get("goodput") if begun else None, lost)
    return _Job(
        run=run,
        trainer=trainer,
        state=state,
        step=start,
        begun=start,
        saved=True,
        batches=stack.enter_context(contextlib.closing(batches)),
        evaluate=evaluate,
        evaluated=lora.for_evaluation(run.config, trainer.graphdef, state.params),
        meta=meta,
        checkpoints=checkpoints,
        meter=Meter(run, begun.get("meter") if begun else None, goodput),
        goodput=goodput,
        profile=stack.enter_context(
            Profile(run.workdir, run.config.train.profile_at, run.config.train.profile_steps)
        ),
        bad_steps=BadSteps(
            run,
            _own_file(run.workdir, "bad_steps"),
            lambda step: [store[i][0] for row in plan.local_rows(step - 1, here) for i in row],
        ),
        record=record,
        trackers=stack.enter_context(contextlib.closing(trackers)),
        quarantine=stack.enter_context(Quarantine(_own_file(run.workdir, "quarantine"))),
        preemption=watch,
        watchdog=stack.enter_context(Watchdog(run.config.train.watchdog_seconds)),
    )


def _go_on(job: _Job) -> None:
    """Takes the steps that are left; logs, saves and evaluates where they are due."""
    run, settings = job.run, job.run.config.train
    rates = learning_rates(run.config)
    # Counted anew by every process that goes on: after an end for this reason a person has put the
    # media right, and what was missing before must not end the run again.
    undecoded = BadFraction(run.config.data.max_bad_fraction, job.quarantine.path)
    if _lacks_evaluation(run, job.evaluate, job.step):
        _evaluate(job)
    with Progress("train", settings.steps, unit="steps", done=job.step, lines=False) as progress:
        while job.step < settings.steps:
            _take_step(job)
            progress.reach(job.step)
            job.profile.reached(job.step)
            preempted = job.preemption.reached(job.step)
            evaluates = _is_evaluated(run, job.evaluate, job.step)
            last = job.step == settings.steps
            scalars = None
            if last or job.step % settings.log_every == 0:
                scalars = job.meter.summary(job.step)
                job.write(scalars | {name: rate(job.step - 1) for name, rate in rates.items()})
            # After the row, which a run that goes on from here does not write again. In several
            # processes nothing interrupts an evaluation but the end of them all.
            endangered = evaluates and jax.process_count() > 1
            if last or job.step % settings.checkpoint_every == 0 or endangered:
                _save(job, even_if_bad=last)
            if scalars:
                undecoded.add(int(scalars["masked"]), int(scalars["examples"]))
            if preempted:
                raise job.preemption.told
            if evaluates:
                _evaluate(job)
    with job.goodput.spent("save"):
        job.checkpoints.wait()


def _take_step(job: _Job) -> None:
    first = job.step == job.begun
    with (
        job.preemption.interruptible(nothing_to_lose=first),
        job.meter.waiting(),
        job.watchdog.waiting_for(f"its part of the batch of step {job.step + 1}, from the media"),
    ):
        batch = next(job.batches)
    for failure in batch.failures:
        job.quarantine.add(stage="decode", **failure)
    if len(job.started) == STEPS_AHEAD:
        _finish_step(job)
    rows = job.run.config.train.batch_rows
    arrays = put_batch(device_arrays(batch), job.trainer.mesh, rows)
    if first:
        with (
            job.preemption.interruptible(nothing_to_lose=True),
            _devices(job, job.step + 1),
            job.goodput.spent("compile"),
        ):
            state, metrics = _first_step(job.trainer, job.state, arrays)
    else:
        with jax.transfer_guard("disallow"), job.profile.step(job.step + 1):
            state, metrics = job.trainer.step(job.state, arrays)
    job.state, job.step, job.saved = state, job.step + 1, False
    job.started.append((job.step, metrics))
    job.meter.add(batch, metrics)


def _finish_step(job: _Job) -> None:
    """Waits for the oldest step that was started and not finished."""
    step, metrics = job.started.popleft()
    with _devices(job, step), job.meter.on_devices():
        jax.block_until_ready(metrics)
    job.bad_steps.add(step, metrics)


def _devices(job: _Job, step: int) -> contextlib.AbstractContextManager[None]:
    others = " and those of the other processes, which may wait for a host that says so"
    return job.watchdog.waiting_for(
        f"its devices{others if jax.process_count() > 1 else ''} to finish step {step}"
    )


def _save(job: _Job, *, even_if_bad: bool) -> None:
    """Saves the state, unless it is saved. After steps that changed nothing what was saved before
    them stays the newest, except where the run ends (even_if_bad)."""
    if job.saved:
        return
    while job.started:
        _finish_step(job)
    if job.bad_steps.in_a_row and not even_if_bad:
        logging.warning("step %d is not saved: the last steps changed nothing", job.step)
        return
    check_finite(job.state.trainable, job.step)
    optimizer = {"opt_state": job.state.opt_state, "step": job.state.step}
    meta = {**job.meta, "step": job.step, "meter": job.meter.state()}
    meta["recent_losses"] = saved_losses(job.state.recent_losses)
    meta["goodput"] = job.goodput.state()
    with job.goodput.spent("save"):
        job.checkpoints.save(job.step, job.state.params, optimizer, meta)
    job.saved = True


def _is_evaluated(run: Run, evaluate: Evaluate | None, step: int) -> bool:
    """Whether the model is evaluated after a step."""
    every = run.config.train.evaluate_every
    if evaluate is None or not every or not step:
        return False
    return step % every == 0 or step == run.config.train.steps


def _lacks_evaluation(run: Run, evaluate: Evaluate | None, step: int) -> bool:
    """Whether a run that goes on from a step has to make up its evaluation."""
    if not _is_evaluated(run, evaluate, step):
        return False
    return not first_finds(lambda: is_evaluated(run.workdir, step))


def _evaluate(job: _Job) -> None:
    assert job.evaluate is not None
    with job.goodput.spent("evaluate"), job.meter.paused(), job.preemption.interruptible():
        scalars = job.evaluate(_loaded(job))
    job.write(scalars)


def _first_step(
    trainer: Trainer, state: TrainState, arrays: Mapping[str, jax.Array]
) -> tuple[TrainState, StepMetrics]:
    """The step that takes long, and says so."""
    logging.info("compiling the step…")
    start = time.monotonic()
    with jax.transfer_guard("disallow"):
        state, metrics = trainer.step(state, arrays)
    jax.block_until_ready(metrics)
    logging.info("the first step took %s with its compilation", duration(time.monotonic() - start))
    return state, metrics


def _loaded(job: _Job) -> LoadedModel:
    """The model as it is, as a checkpoint of it would be loaded."""
    mesh = rows_only(job.trainer.mesh)
    return LoadedModel(
        graphdef=job.evaluated,
        params=on_mesh(job.state.params, mesh),
        mesh=mesh,
        tokenizer=job.run.tokenizer,
        frame_policy=job.meta["frames"],
        step=job.step,
        trained_config=job.meta["config"],
        source=job.run.workdir,
    )


def _own_file(workdir: Path, name: str) -> Path:
    """A file of which every process writes its own."""
    process = f"-{jax.process_index()}" if jax.process_count() > 1 else ""
    return workdir / f"{name}{process}.jsonl"
