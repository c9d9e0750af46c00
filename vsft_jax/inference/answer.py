"""Answers to prepared prompts, in batches of a few shapes."""

import dataclasses
import zlib
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from ml_collections import ConfigDict

from input_pipeline.batches import Batch, device_arrays, listed_rows, make_batches
from input_pipeline.examples import Example
from input_pipeline.index import ExampleStore
from input_pipeline.layout import ExampleLayout
from vsft_jax.config import Run, evaluation_row_problems, refuse
from vsft_jax.errors import ConfigError
from vsft_jax.inference.generate import Decoding, Generated, generate
from vsft_jax.inference.model import LoadedModel
from vsft_jax.inference.prompt_shapes import prompt_shapes
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
    store: ExampleStore | Sequence[tuple[Example, ExampleLayout]],
    *,
    likeliest: int = 0,
    answered: Collection[int] = (),
) -> Iterator[Answer]:
    """Answers to every prompt, prepared in "prompt" mode, by `config.eval`.

    Prompts are grouped by size, and each group runs in rows of one shape, so that the number of
    compilations is that of the shapes and not of the prompts. Largest first: what does not fit
    into memory shows at once. Answers come in that order, not in the store's. What is drawn for a
    prompt depends on `config.seed` and its id alone. likeliest: how many of the most likely tokens
    are told for each token. answered: places in the store that need no answer. Batches stay as
    they are without them, and those with nothing else in them do not run.
    """
    config = run.config
    rows_a_batch = config.eval.batch_rows
    refuse(evaluation_row_problems(run, batch_shards(model.mesh)))
    stop_ids = model.tokenizer.stop_ids()
    decoding = Decoding(
        max_new_tokens=config.eval.max_new_tokens,
        stop_ids=stop_ids,
        banned_ids=run.model_config.media_token_ids,
        pad_id=stop_ids[0],
        sampling=sampling_of(config),
        likeliest=likeliest,
    )
    done = set(answered)
    for shape, everyone in prompt_shapes(*_sizes(store), rows_a_batch).items():
        starts = range(0, len(everyone), rows_a_batch)
        wanted = [set(everyone[k : k + rows_a_batch]) - done for k in starts]
        members = [
            i
            for k, some in zip(starts, wanted, strict=True)
            if some
            for i in everyone[k : k + rows_a_batch]
        ]
        batches = make_batches(
            store,
            listed_rows([[i] for i in members], rows_a_batch, local_rows(model.mesh, rows_a_batch)),
            model.tokenizer,
            run.layout,
            shape,
            steps=-(-len(members) // rows_a_batch),
            mode="prompt",
            decoder=run.decoder,
            threads=config.data.workers,
        )
        for step, batch in enumerate(batches):
            here = members[step * rows_a_batch : (step + 1) * rows_a_batch]
            failures = {failure["id"]: failure for failure in batch.failures}
            said, failed = _generate(
                model,
                {**device_arrays(batch), "keys": _keys(batch), "failed": _failed(batch)},
                rows_a_batch,
                decoding,
                config.seed,
            )
            columns = said.tokens, said.logprobs, said.lengths
            for row, (i, bad, tokens, logprobs, length) in enumerate(
                zip(here, failed, *columns, strict=False)
            ):
                ids, name = tokens[:length].tolist(), store[i][0].id
                yield Answer(
                    index=i,
                    text=model.tokenizer.decode(ids).strip(),
                    token_ids=ids,
                    logprobs=logprobs[:length].tolist(),
                    failure=failures.get(name, _elsewhere(name)) if bad else None,
                    likeliest=_likeliest(said, row, length),
                )


def _likeliest(said: Generated, row: int, length: int) -> list[list[tuple[int, float]]]:
    if said.likeliest is None or said.likeliest_logprobs is None:
        return []
    ids, logprobs = said.likeliest[row, :length], said.likeliest_logprobs[row, :length]
    pairs = zip(ids.tolist(), logprobs.tolist(), strict=True)
    return [list(zip(*pair, strict=True)) for pair in pairs]


def _sizes(
    store: ExampleStore | Sequence[tuple[Example, ExampleLayout]],
) -> tuple[np.ndarray, np.ndarray]:
    """int64[n] each: tokens and patches of the prompts."""
    if isinstance(store, ExampleStore):
        return store.tokens, store.patches
    layouts = [layout for _, layout in store]
    return np.array([each.tokens for each in layouts]), np.array([each.patches for each in layouts])


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


def _keys(batch: Batch) -> np.ndarray:
    """uint32[B]: each row's own number, from the id of the example in it."""
    ids = ("".join(row) for row in batch.example_ids)
    return np.array([zlib.crc32(name.encode()) for name in ids], np.uint32)


def _failed(batch: Batch) -> np.ndarray:
    """bool[B]: rows whose media could not be decoded."""
    ids = {failure["id"] for failure in batch.failures}
    return np.array([not ids.isdisjoint(row) for row in batch.example_ids])


def _elsewhere(example: str) -> dict[str, str]:
    """The record of a failure that another process met."""
    detail = "its media could not be decoded by the process that had it: see that process's log"
    return {"id": example, "source": "", "path": "", "reason": "elsewhere", "detail": detail}


def _generate(
    model: LoadedModel, arrays: dict[str, np.ndarray], rows: int, decoding: Decoding, seed: int
) -> tuple[Generated, np.ndarray]:
    """What was said in, and bool[rows] whether media failed for, all processes' rows."""
    with jax.set_mesh(model.mesh):
        placed = put_batch(arrays, model.mesh, rows)
        said = generate(
            model.graphdef,
            model.params,
            placed,
            placed["prompt_lengths"],
            decoding,
            seed=seed,
            keys=placed["keys"],
        )
        found = said, placed["failed"]
        if jax.process_count() > 1:
            return multihost_utils.process_allgather(found, tiled=True)
        return jax.device_get(found)
