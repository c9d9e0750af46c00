"""A trained model ready to answer prepared examples in batches."""

import dataclasses
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.experimental import multihost_utils
from jax.sharding import Mesh
from ml_collections import ConfigDict

from input_pipeline.batches import RowShape, device_arrays, listed_rows, make_batches
from input_pipeline.chat import ChatTokenizer
from input_pipeline.index import ExampleStore
from vsft_jax import experiment
from vsft_jax.checkpoints import Checkpoints
from vsft_jax.generate import Generated, generate
from vsft_jax.sharding import abstract_model, batch_shards, make_mesh, put_batch

_SMALLEST_BUCKET = 64  # positions or patches of the smallest row shape


@dataclasses.dataclass(frozen=True)
class LoadedModel:
    """Parameters with all that is needed to use them.

    frames: the resolved frame-budget spec it was trained with. saved_config: the training config.
    """

    graphdef: nnx.GraphDef
    params: nnx.State
    mesh: Mesh
    tokenizer: ChatTokenizer
    frames: dict[str, Any]
    step: int
    saved_config: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Answer:
    """What the model said about store[index].

    token_ids: without the stop token. logprobs: natural logarithms, one for each token.
    failure: why the media could not be decoded, else None.
    """

    index: int
    text: str
    token_ids: list[int]
    logprobs: list[float]
    failure: dict[str, str] | None


def load_model(config: ConfigDict, workdir: str | Path) -> LoadedModel:
    """The newest checkpoint of a workdir, on the config's mesh.

    Raises CheckpointError when there is none or it does not fit `config.model`.
    """
    checkpoints = Checkpoints(workdir, read_only=True)
    tokenizer = experiment.load_tokenizer(config, workdir)
    family = experiment.family(config)
    model_config = experiment.model_config(config, tokenizer)
    mesh = make_mesh(config.mesh)
    with jax.set_mesh(mesh):
        graphdef, shapes = abstract_model(
            lambda: family.Model(model_config, rngs=nnx.Rngs(0)), family.partition_rules(), mesh
        )
        params = checkpoints.restore_params(shapes)
    meta = checkpoints.meta()
    checkpoints.close()
    return LoadedModel(
        graphdef, params, mesh, tokenizer, meta["frames"], meta["step"], meta["config"]
    )


def answer(config: ConfigDict, model: LoadedModel, store: ExampleStore) -> Iterator[Answer]:
    """Greedy answers to every prompt of a store prepared in "prompt" mode.

    Prompts are grouped by size, and each group runs in rows of one shape, so that the number of
    compilations is that of the shapes and not of the prompts. Largest first: what does not fit
    into memory shows at once. Answers come in that order, not in the store's.
    """
    rows_a_batch = config.eval.batch_rows
    shards = batch_shards(model.mesh)
    if rows_a_batch % shards:
        raise experiment.ConfigError(
            f"config.eval.batch_rows = {rows_a_batch} must be a multiple of data × fsdp = {shards}"
        )
    banned_ids = experiment.model_config(config, model.tokenizer).media_token_ids
    for shape, members in row_shapes(store).items():
        batches = make_batches(
            store,
            listed_rows(
                [[i] for i in members], rows_a_batch, jax.process_index(), jax.process_count()
            ),
            model.tokenizer,
            experiment.layout_rules(config),
            shape,
            steps=-(-len(members) // rows_a_batch),
            mode="prompt",
            threads=config.data.workers,
        )
        for step, batch in enumerate(batches):
            here = members[step * rows_a_batch : (step + 1) * rows_a_batch]
            failures = {failure["id"]: failure for failure in batch.failures}
            said = _generate(model, device_arrays(batch), config.eval.max_new_tokens, banned_ids)
            for i, tokens, logprobs, length in zip(here, *said, strict=False):
                ids = tokens[:length].tolist()
                yield Answer(
                    index=i,
                    text=model.tokenizer.decode(ids).strip(),
                    token_ids=ids,
                    logprobs=logprobs[:length].tolist(),
                    failure=failures.get(store[i][0].id),
                )


def row_shapes(store: ExampleStore) -> dict[RowShape, list[int]]:
    """Store positions by the row shape that holds them, the largest shape first.

    Sizes are powers of two, so that a row is at most half empty and shapes are few. An example
    without media goes into rows of the smallest number of patches.
    """
    groups = defaultdict(list)
    for i, (tokens, patches) in enumerate(zip(store.tokens, store.patches, strict=True)):
        groups[RowShape(_bucket(int(tokens)), _bucket(int(patches)))].append(i)
    return dict(sorted(groups.items(), key=lambda g: (-g[0].patches, -g[0].tokens)))


def _bucket(size: int) -> int:
    return max(_SMALLEST_BUCKET, 1 << (size - 1).bit_length())


def _generate(
    model: LoadedModel,
    arrays: dict[str, np.ndarray],
    max_new_tokens: int,
    banned_ids: tuple[int, ...],
) -> Generated:
    """Host arrays of all processes' rows."""
    stop_ids = model.tokenizer.stop_ids()
    with jax.set_mesh(model.mesh):
        placed = put_batch(arrays, model.mesh)
        said = generate(
            model.graphdef,
            model.params,
            placed,
            placed["prompt_lengths"],
            max_new_tokens=max_new_tokens,
            stop_ids=stop_ids,
            banned_ids=banned_ids,
            pad_id=stop_ids[0],
        )
        if jax.process_count() > 1:
            return multihost_utils.process_allgather(said, tiled=True)
        return jax.device_get(said)
