"""Answers to prepared prompts, in batches of a few shapes."""

import dataclasses
import zlib
from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import logging
from jax.experimental import multihost_utils
from ml_collections import ConfigDict

from input_pipeline.batches import Batch, RowShape, device_arrays, listed_rows, make_batches
from vsft_jax.config import Run, evaluation_row_problems, refuse
from vsft_jax.errors import ConfigError
from vsft_jax.inference.decoding import Decoding, Endings, Generated, Step
from vsft_jax.inference.generate import generate, generate_stepwise
from vsft_jax.inference.model import LoadedModel
from vsft_jax.inference.prompt_rows import Plan, padding, plan_rows
from vsft_jax.inference.prompts import (
    Beginnings,
    Group,
    Prompts,
    group_prompts,
    lay_out_endings,
)
from vsft_jax.inference.token_sampling import GREEDY, Sampling
from vsft_jax.sharding import batch_shards, local_rows, put_batch


@dataclasses.dataclass(frozen=True)
class Answer:
    """What the model said about store[index].

    token_ids: without the stop token. logprobs: natural logarithms, one for each token.
    failure: why the media could not be decoded, else None. likeliest: for each token the most
    likely ones in its place, best first: (id, natural logarithm); none unless they are asked for.
    """

    index: int
    text: str
    token_ids: list[int]
    logprobs: list[float]
    failure: dict[str, str] | None
    likeliest: Sequence[Sequence[tuple[int, float]]] = ()


@dataclasses.dataclass(frozen=True)
class Piece:
    """A token of the answer about store[index], and what `Answer` has of it. At the answer's end
    comes one with None, and where the media could not be decoded nothing else."""

    index: int
    token_id: int | None
    logprob: float = 0.0
    likeliest: Sequence[tuple[int, float]] = ()
    failure: dict[str, str] | None = None


def answer(
    run: Run,
    model: LoadedModel,
    store: Prompts,
    *,
    likeliest: int = 0,
    answered: Collection[int] = (),
    many: bool = False,
    options: Sequence[Sequence[int]] = (),
) -> Iterator[Answer]:
    """Answers to every prompt, prepared in "prompt" mode, by `config.eval`.

    Prompts run in rows of a few shapes, largest first: what does not fit into memory shows at once.
    Answers come in that order, not in the store's. What is drawn for a prompt depends on
    `config.seed` and its id alone.

    likeliest: how many of the most likely tokens are told for each token. answered: places in the
    store that need no answer. Batches stay as they are without them, and those with nothing else in
    them do not run. many: rows are made for these prompts alone, and what prompts about the same
    media share is decoded and computed once. Otherwise each prompt has a row, in shapes that come
    again in other calls. options: of each prompt, tokens of which the most likely one is its whole
    answer.
    """
    decoding = _decoding(run, model, likeliest)
    if options:
        decoding = dataclasses.replace(decoding, max_new_tokens=1, sampling=GREEDY)
    for batch in _batches(run, model, store, answered, many):
        with jax.set_mesh(model.mesh):
            inputs = _inputs(run, model, batch, _table(options))
            found = generate(**inputs, decoding=decoding)
            said, failed = _everywhere((found, inputs["arrays"]["failed"]))
        for at, place in batch.prompts():
            length = int(said.lengths[at])
            ids = said.tokens[at][:length].tolist()
            yield Answer(
                index=place,
                text=model.tokenizer.decode(ids).strip(),
                token_ids=ids,
                logprobs=said.logprobs[at][:length].tolist(),
                failure=batch.failure(at) if failed[at] else None,
                likeliest=_likeliest(said, at, length),
            )


def answer_stepwise(
    run: Run, model: LoadedModel, store: Prompts, *, likeliest: int = 0
) -> Iterator[Piece]:
    """`answer`, a token of each prompt at a time as soon as it is there. Whoever takes no more
    ends it. Of one process; give the model parameters as `for_decoding` makes them."""
    decoding = _decoding(run, model, likeliest)
    for batch in _batches(run, model, store, (), False):
        asked = dict(batch.prompts())
        with jax.set_mesh(model.mesh):
            inputs = _inputs(run, model, batch, None)
            steps = generate_stepwise(**inputs, decoding=decoding)
            failed = jax.device_get(inputs["arrays"]["failed"])
        for at in [at for at in asked if failed[at]]:
            yield Piece(asked.pop(at), None, failure=batch.failure(at))
        while asked:
            with jax.set_mesh(model.mesh):
                step = next(steps, None)
            for at, place in list(asked.items()):
                token = None if step is None else int(step.token[at])
                if step is None or token in decoding.stop_ids:
                    yield Piece(asked.pop(at), None)
                else:
                    yield Piece(place, token, float(step.logprob[at]), _pairs(step, at))


def _decoding(run: Run, model: LoadedModel, likeliest: int) -> Decoding:
    stop_ids = model.tokenizer.stop_ids()
    return Decoding(
        max_new_tokens=run.config.eval.max_new_tokens,
        stop_ids=stop_ids,
        banned_ids=run.model_config.media_token_ids,
        pad_id=stop_ids[0],
        sampling=sampling_of(run.config),
        likeliest=likeliest,
    )


# ── Batches of prompts. ─────────────────────────────────────────────────────────────────────────


class _Rows(NamedTuple):
    """Groups in rows, those of all processes; and what `lay_out_endings` makes of them."""

    rows: list[list[int]]
    endings: dict[str, np.ndarray]
    places: np.ndarray

    @property
    def asked(self) -> set[int]:
        return set(self.places[self.places >= 0].tolist())


class _Batch(NamedTuple):
    """Rows of which those of this process, `here`, are loaded. names: ids of the prompts by their
    places. beginnings: ids of the examples whose beginnings prompts share, one a prompt."""

    rows: _Rows
    loaded: Batch
    here: np.ndarray
    names: dict[int, str]
    beginnings: np.ndarray

    def prompts(self) -> Iterator[tuple[tuple[int, ...], int]]:
        """Where in the batch each prompt is, and its place in the store."""
        places = self.rows.places
        for at in np.argwhere(places >= 0).tolist():
            yield tuple(at), int(places[tuple(at)])

    def failure(self, at: tuple[int, ...]) -> dict[str, str]:
        """Why the media of the prompt there could not be decoded."""
        place = int(self.rows.places[at])
        mine = self.rows.places[self.here].flat
        beginning = dict(zip(mine, self.beginnings.flat, strict=True)).get(place)
        known = {failure["id"]: failure for failure in self.loaded.failures}
        return {**known.get(beginning or "", _ELSEWHERE), "id": self.names[place]}


def _batches(
    run: Run, model: LoadedModel, store: Prompts, answered: Collection[int], many: bool
) -> Iterator[_Batch]:
    """All prompts, but no batch whose prompts are all answered."""
    config, shards = run.config, batch_shards(model.mesh)
    refuse(evaluation_row_problems(run, shards))
    groups = group_prompts(store, model.tokenizer, run.layout, share=many)
    sizes = np.array([group.sizes for group in groups])
    plans = plan_rows(sizes, config.eval.batch_rows, shards, tight=many)
    if many and groups:
        _log(plans, sizes)
    beginnings, done = Beginnings(store, groups), set(answered)
    unit = run.layout.patches_per_unit
    for plan in plans:
        steps = [step for step in _rows(plan, groups) if not done.issuperset(step.asked)]
        here = local_rows(model.mesh, plan.batch_rows)
        batches = make_batches(
            beginnings,
            listed_rows([row for step in steps for row in step.rows], plan.batch_rows, here),
            model.tokenizer,
            run.layout,
            RowShape(plan.shape.tokens, -(-plan.shape.patches // unit) * unit),
            steps=len(steps),
            mode="prompt",
            decoder=run.decoder,
            threads=config.data.workers,
        )
        for step, batch in zip(steps, batches, strict=True):
            names = {place: store[place][0].id for place in sorted(step.asked)}
            segments = step.endings["beginnings"][here]
            yield _Batch(step, batch, here, names, _beginnings(batch, segments))


def _rows(plan: Plan, groups: Sequence[Group]) -> Iterator[_Rows]:
    for start in range(0, len(plan.rows), plan.batch_rows):
        rows = plan.rows[start : start + plan.batch_rows]
        rows += [[]] * (plan.batch_rows - len(rows))
        yield _Rows(rows, *lay_out_endings([[groups[i] for i in row] for row in rows], plan.shape))


def _beginnings(batch: Batch, segments: np.ndarray) -> np.ndarray:
    """By segment, int[B, G], the ids of the examples whose beginnings these are; "" for none."""
    ids = [["", *row] for row in batch.example_ids]
    return np.array([[ids[r][s] for s in row] for r, row in enumerate(segments.tolist())], object)


def _inputs(
    run: Run, model: LoadedModel, batch: _Batch, options: np.ndarray | None
) -> dict[str, Any]:
    """Arguments of `generate`, on the devices. options: int32[prompts, C], or None."""
    places = batch.rows.places[batch.here]
    own = {
        "keys": np.vectorize(lambda place: _key(batch.names.get(place, "")))(places),
        "failed": np.isin(batch.beginnings, [failure["id"] for failure in batch.loaded.failures]),
    }
    if options is not None:
        own["options"] = np.where(places[..., None] >= 0, options[places], -1)
    endings = {name: values[batch.here] for name, values in batch.rows.endings.items()}
    rows = len(batch.rows.rows)
    arrays = put_batch({**device_arrays(batch.loaded), **own}, model.mesh, rows)
    return {
        "model_graphdef": model.graphdef,
        "params": model.params,
        "arrays": arrays,
        "endings": Endings(**put_batch(endings, model.mesh, rows)),
        "seed": run.config.seed,
        "keys": arrays["keys"],
        **({"options": arrays["options"]} if options is not None else {}),
    }


def _table(options: Sequence[Sequence[int]]) -> np.ndarray | None:
    """int32[prompts, C], -1 behind the options of each."""
    if not options:
        return None
    most = max(map(len, options))
    return np.array([[*each, *[-1] * (most - len(each))] for each in options], np.int32)


def _key(name: str) -> np.uint32:
    """A prompt's own number, from its id."""
    return np.uint32(zlib.crc32(name.encode()))


# The record of a failure that another process met.
_ELSEWHERE = {
    "source": "",
    "path": "",
    "reason": "elsewhere",
    "detail": "its media could not be decoded by the process that had it: see that process's log",
}


def _everywhere(found: Any) -> Any:
    """Arrays of all processes' rows, on the host."""
    if jax.process_count() > 1:
        return multihost_utils.process_allgather(found, tiled=True)
    return jax.device_get(found)


def _likeliest(said: Generated, at: tuple[int, ...], length: int) -> list[list[tuple[int, float]]]:
    return [_pairs(said, (*at, step)) for step in range(length)]


def _pairs(said: Generated | Step, at: tuple[int, ...]) -> list[tuple[int, float]]:
    if said.likeliest is None or said.likeliest_logprobs is None:
        return []
    ids, logprobs = said.likeliest[at].tolist(), said.likeliest_logprobs[at].tolist()
    return list(zip(ids, logprobs, strict=True))


def _log(plans: Sequence[Plan], sizes: np.ndarray) -> None:
    logging.info(
        "%d prompts with %d beginnings, in rows of %s positions, %.0f %% padding",
        *(sizes[:, 3].sum(), len(sizes)),
        ", ".join(f"{plan.shape.tokens} + {plan.shape.endings}" for plan in plans),
        100 * padding(plans, sizes),
    )


def sampling_of(config: ConfigDict) -> Sampling:
    """How `config.eval` says that tokens are chosen. Raises ConfigError naming the key."""
    try:
        return Sampling(config.eval.temperature, config.eval.top_p, config.eval.top_k)
    except ValueError as error:
        raise ConfigError(f"config.eval: {error}") from error


def generation_settings(config: ConfigDict) -> dict[str, Any]:
    """What answers depend on besides the model, the prompt and its frames, for the record."""
    found = {"max_new_tokens": config.eval.max_new_tokens}
    found |= dataclasses.asdict(sampling_of(config))
    found |= {"seed": config.seed} if config.eval.temperature else {}
    found |= {"choices": "likeliest"} if config.eval.choices == "likeliest" else {}
    return found | {"lora_eval_scale": config.lora.eval_scale}
