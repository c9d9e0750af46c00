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
from vsft_jax.inference.generate import Decoding, Endings, Generated, generate
from vsft_jax.inference.model import LoadedModel
from vsft_jax.inference.prompt_rows import Plan, padding, plan_rows
from vsft_jax.inference.prompts import (
    Beginnings,
    Group,
    Prompts,
    group_prompts,
    lay_out_endings,
)
from vsft_jax.inference.token_sampling import Sampling
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


def answer(
    run: Run,
    model: LoadedModel,
    store: Prompts,
    *,
    likeliest: int = 0,
    answered: Collection[int] = (),
    many: bool = False,
) -> Iterator[Answer]:
    """Answers to every prompt, prepared in "prompt" mode, by `config.eval`.

    Prompts run in rows of a few shapes, largest first: what does not fit into memory shows at once.
    Answers come in that order, not in the store's. What is drawn for a prompt depends on
    `config.seed` and its id alone.

    likeliest: how many of the most likely tokens are told for each token. answered: places in the
    store that need no answer. Batches stay as they are without them, and those with nothing else in
    them do not run. many: rows are made for these prompts alone, and what prompts about the same
    media share is decoded and computed once. Otherwise each prompt has a row, in shapes that come
    again in other calls.
    """
    config = run.config
    shards = batch_shards(model.mesh)
    refuse(evaluation_row_problems(run, shards))
    stop_ids = model.tokenizer.stop_ids()
    decoding = Decoding(
        max_new_tokens=config.eval.max_new_tokens,
        stop_ids=stop_ids,
        banned_ids=run.model_config.media_token_ids,
        pad_id=stop_ids[0],
        sampling=sampling_of(config),
        likeliest=likeliest,
    )
    groups = group_prompts(store, model.tokenizer, run.layout, share=many)
    sizes = np.array([group.sizes for group in groups])
    plans = plan_rows(sizes, config.eval.batch_rows, shards, tight=many)
    if many and groups:
        _log(plans, sizes)
    beginnings, done = Beginnings(store, groups), set(answered)
    for plan in plans:
        steps = [step for step in _batches(plan, groups) if not done.issuperset(_places(step))]
        here = local_rows(model.mesh, plan.batch_rows)
        batches = make_batches(
            beginnings,
            listed_rows([row for step in steps for row in step.rows], plan.batch_rows, here),
            model.tokenizer,
            run.layout,
            RowShape(plan.shape.tokens, plan.shape.patches),
            steps=len(steps),
            mode="prompt",
            decoder=run.decoder,
            threads=config.data.workers,
        )
        for step, batch in zip(steps, batches, strict=True):
            yield from _answers(model, store, step, batch, here, decoding, config.seed)


class _Batch(NamedTuple):
    """Rows of groups, those of all processes; and what `lay_out_endings` makes of them."""

    rows: list[list[int]]
    endings: dict[str, np.ndarray]
    places: np.ndarray


def _batches(plan: Plan, groups: Sequence[Group]) -> Iterator[_Batch]:
    for start in range(0, len(plan.rows), plan.batch_rows):
        rows = plan.rows[start : start + plan.batch_rows]
        rows += [[]] * (plan.batch_rows - len(rows))
        yield _Batch(rows, *lay_out_endings([[groups[i] for i in row] for row in rows], plan.shape))


def _places(batch: _Batch) -> set[int]:
    return set(batch.places[batch.places >= 0].tolist())


def _answers(
    model: LoadedModel,
    store: Prompts,
    asked: _Batch,
    batch: Batch,
    here: np.ndarray,
    decoding: Decoding,
    seed: int,
) -> Iterator[Answer]:
    """here: the rows of this process, which `batch` holds."""
    names = {place: store[place][0].id for place in sorted(_places(asked))}
    endings = {name: values[here] for name, values in asked.endings.items()}
    failures = {failure["id"]: failure for failure in batch.failures}
    beginnings = _beginnings(batch, endings["beginnings"])
    own = {
        "keys": np.vectorize(lambda place: _key(names.get(place, "")))(asked.places[here]),
        "failed": np.isin(beginnings, list(failures)),
    }
    rows = len(asked.rows)
    with jax.set_mesh(model.mesh):
        placed = put_batch({**device_arrays(batch), **own}, model.mesh, rows)
        found = generate(
            model.graphdef,
            model.params,
            placed,
            Endings(**put_batch(endings, model.mesh, rows)),
            decoding,
            seed=seed,
            keys=placed["keys"],
        )
        said, failed = _everywhere((found, placed["failed"]))
    of_place = dict(zip(asked.places[here].flat, beginnings.flat, strict=True))
    for at in zip(*np.nonzero(asked.places >= 0), strict=True):
        place, length = int(asked.places[at]), int(said.lengths[at])
        ids = said.tokens[at][:length].tolist()
        failure = failures.get(of_place.get(place, ""), _ELSEWHERE) if failed[at] else None
        yield Answer(
            index=place,
            text=model.tokenizer.decode(ids).strip(),
            token_ids=ids,
            logprobs=said.logprobs[at][:length].tolist(),
            failure=failure and {**failure, "id": names[place]},
            likeliest=_likeliest(said, at, length),
        )


def _beginnings(batch: Batch, segments: np.ndarray) -> np.ndarray:
    """By segment, int[B, G], the ids of the examples whose beginnings these are; "" for none."""
    ids = [["", *row] for row in batch.example_ids]
    return np.array([[ids[r][s] for s in row] for r, row in enumerate(segments.tolist())], object)


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


def _likeliest(
    said: Generated, at: tuple[np.intp, ...], length: int
) -> list[list[tuple[int, float]]]:
    if said.likeliest is None or said.likeliest_logprobs is None:
        return []
    ids, logprobs = said.likeliest[at][:length], said.likeliest_logprobs[at][:length]
    pairs = zip(ids.tolist(), logprobs.tolist(), strict=True)
    return [list(zip(*pair, strict=True)) for pair in pairs]


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
    return found | {"lora_eval_scale": config.lora.eval_scale}
