"""`gradients` for the model that a run starts from, on its training data."""

import dataclasses
import functools
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from absl import logging

from evaluation.diagnostics.gradients import (
    change_of_sign,
    cosines,
    curvature,
    gradient_of,
    steps_of,
)
from input_pipeline.files import write_atomically
from vsft_jax.checkpoints import Checkpoints
from vsft_jax.config import Run
from vsft_jax.parameters import selector
from vsft_jax.train import make_trainer
from vsft_jax.train.one_set import batches_of
from vsft_jax.train.setup import initial_state
from vsft_jax.train.step import TrainState

Mean = Callable[[Any, Sequence[Any]], float]  # of the loss at parameters over batches
_ROWS = 4  # packed rows a batch
_BATCHES = 8


def diagnose(run: Run, pictures: str, counts: Sequence[int], file: Path) -> dict[str, Any]:
    """Measures and writes what fine-tuning with each count of frames would do first.

    run: a fine-tuning; its start, from `train.init_from` or `model.path`, is what is measured, its
    mixture are the clips. pictures: a training set. counts: frames. file: where the result goes.

    Returns the written object: curvature of the loss on pictures, sign_change (the m* of
    `change_of_sign`, or None) and by_frames: {frames: cosines by part, second_moment, noise,
    product, bound, changes}. Some 10 steps' time for each count.
    """
    run = run.with_settings(train={"batch_rows": _ROWS, "steps": 1, "accumulate": 1})
    trainer = make_trainer(run)
    with jax.set_mesh(trainer.mesh):
        checkpoints = Checkpoints(run.workdir)
        state = initial_state(run, trainer, checkpoints)
        checkpoints.close()

        @jax.jit
        def gradients_at(state: TrainState, batch: Mapping[str, jax.Array]) -> Any:
            grads, (sums, _) = trainer.gradients(state, batch)
            return sums.mean_of(grads)

        @jax.jit
        def loss_at(state: TrainState, batch: Mapping[str, jax.Array]) -> jax.Array:
            _, (sums, _) = trainer.gradients(state, batch)
            return sums.mean_of(sums.loss)

        def gradient(trainable: Any, batch: Mapping[str, jax.Array]) -> Any:
            return gradients_at(dataclasses.replace(state, trainable=trainable), batch)

        def mean_loss(trainable: Any, batches: Sequence[Any]) -> float:
            there = dataclasses.replace(state, trainable=trainable)
            return sum(float(loss_at(there, each)) for each in batches) / len(batches)

        at = state.trainable
        few = {"kind": "fixed", "frames": run.layout.min_frames}
        images = list(batches_of(run, trainer, pictures, few, _BATCHES))
        image = gradient_of(lambda batch: gradient(at, batch), images)
        beta = curvature(lambda p: gradient_of(lambda b: gradient(p, b), images[:2]).mean, at)
        parts = _parts(run)
        found: dict[str, Any] = {}
        for count in counts:
            logging.info("gradients of clips with %d frames…", count)
            clips = list(_clips(run, trainer, count))
            video = gradient_of(lambda batch: gradient(at, batch), clips)
            losses = functools.partial(_losses, mean_loss, images, clips)
            steps = steps_of(image.mean, video.mean, at, beta, losses)
            found[str(count)] = {
                "cosines": _known(cosines(image.mean, video.mean, parts)),
                "second_moment": video.second_moment,
                **_known({"noise": video.noise}),
                "product": steps.product,
                "bound": steps.bound,
                "changes": steps.changes,
            }
    result = {
        "pictures": pictures,
        "batches": _BATCHES,
        "curvature": beta,
        "sign_change": change_of_sign({int(m): f["cosines"]["all"] for m, f in found.items()}),
        "by_frames": found,
    }
    write_atomically(file, json.dumps(result, indent=1))
    return result


def _losses(
    mean: Callable[[Any, Sequence[Any]], float],
    images: Sequence[Any],
    clips: Sequence[Any],
    at: Any,
) -> tuple[float, float]:
    return mean(at, images), mean(at, clips)


def _known(numbers: Mapping[str, float]) -> dict[str, float | None]:
    """As JSON has them: None for nan."""
    return {name: None if math.isnan(x) else x for name, x in numbers.items()}


def _clips(run: Run, trainer: Any, count: int) -> Iterator[Any]:
    """As many batches of each training set of clips as there are of pictures, over all of them."""
    sets = [each.name for each in run.training_sets]
    for name in sets:
        frames = {"kind": "fixed", "frames": count}
        yield from batches_of(run, trainer, name, frames, max(1, _BATCHES // len(sets)))


def _parts(run: Run) -> dict[str, Callable[[str], bool]]:
    of = run.family.component_of

    def lies_in(part: str, path: str) -> bool:
        return of(path) == part

    names = ("tower", "projector", "llm")
    parts: dict[str, Callable[[str], bool]] = {
        part: functools.partial(lies_in, part) for part in names
    }
    return parts | {f"llm {preset}": selector(preset, "") for preset in ("attention", "gate_up")}
