"""A trained model ready to answer prepared examples in batches."""

import dataclasses
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging
from flax import nnx
from jax.experimental import multihost_utils
from jax.sharding import Mesh
from ml_collections import ConfigDict

from input_pipeline.batches.rows import Batch, device_arrays, listed_rows, make_batches
from input_pipeline.index.prepare import ExampleStore
from input_pipeline.text.chat_tokenizer import ChatTokenizer
from vsft_jax import experiment, lora
from vsft_jax.checkpoints import Checkpoints
from vsft_jax.huggingface.load import load_params
from vsft_jax.inference.generate import Generated, generate
from vsft_jax.inference.prompt_shapes import prompt_shapes
from vsft_jax.inference.token_sampling import Sampling
from vsft_jax.lora import Lora, ModelBuilder
from vsft_jax.sharding import abstract_model, batch_shards, local_rows, make_mesh, put_batch


@dataclasses.dataclass(frozen=True)
class LoadedModel:
    """Parameters with all that is needed to use them.

    frames: the resolved frame-budget spec it was trained with; the config's for a model that was
        imported, whose step is 0.
    saved_config: the training config. source: workdir or Hugging Face directory.
    """

    graphdef: nnx.GraphDef
    params: nnx.State
    mesh: Mesh
    tokenizer: ChatTokenizer
    frames: dict[str, Any]
    step: int
    saved_config: dict[str, Any]
    source: Path


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
    """The newest checkpoint of a workdir, on the config's mesh; where the workdir has none, the
    model of `config.model.path`. A checkpoint's adapters are as it was trained with, at
    `config.lora.eval_scale`.

    Raises CheckpointError when there is neither or the checkpoint does not fit `config.model`,
    ConfigError when `config.lora` is for other adapters, HFError when the directory cannot be used.
    """
    workdir = Path(workdir).absolute()
    checkpoints = _checkpoints(config, workdir)
    tokenizer = experiment.load_tokenizer(config, workdir)
    family = experiment.family(config)
    model_config = experiment.model_config(config, tokenizer)
    mesh = make_mesh(config.mesh)
    with jax.set_mesh(mesh):
        meta = checkpoints.meta() if checkpoints else None
        build = ModelBuilder(family, model_config, _adapters(config, workdir, meta))
        rules = lora.partition_rules(family.partition_rules())
        graphdef, shapes = abstract_model(build, rules, mesh)
        if checkpoints:
            source = workdir
            params = checkpoints.restore_params(shapes)
            checkpoints.close()
        else:
            source = experiment.model_dir(config)
            params = load_params(family, model_config, source, shapes)
            frames = experiment.resolve_frames(config, workdir)
            meta = {"frames": frames, "step": 0, "config": experiment.as_json(config)}
        graphdef = lora.for_evaluation(config, graphdef, params)
    return LoadedModel(
        graphdef, params, mesh, tokenizer, meta["frames"], meta["step"], meta["config"], source
    )


def _adapters(config: ConfigDict, workdir: Path, meta: dict[str, Any] | None) -> Lora | None:
    """The adapters of a checkpoint with this `meta`, if there is one."""
    saved = Lora.of_checkpoint(meta) if meta else None
    if meta and config.lora.rank and Lora.of(config.lora) != saved:
        raise experiment.ConfigError(
            f"config.lora gives {Lora.of(config.lora)}, but {workdir} was trained with {saved}; "
            "config.lora.rank = 0 takes the checkpoint's"
        )
    return saved


def _checkpoints(config: ConfigDict, workdir: Path) -> Checkpoints | None:
    """The workdir's checkpoints; None where it has none but there is a model to import."""
    if not config.model.path:
        return Checkpoints(workdir, read_only=True)
    if (workdir / "checkpoints").is_dir():
        checkpoints = Checkpoints(workdir, read_only=True)
        if checkpoints.latest() is not None:
            return checkpoints
        checkpoints.close()
    logging.info("no checkpoint in %s: using the weights of %s", workdir, config.model.path)
    return None


def answer(config: ConfigDict, model: LoadedModel, store: ExampleStore) -> Iterator[Answer]:
    """Answers to every prompt of a store prepared in "prompt" mode, by `config.eval`.

    Prompts are grouped by size, and each group runs in rows of one shape, so that the number of
    compilations is that of the shapes and not of the prompts. Largest first: what does not fit
    into memory shows at once. Answers come in that order, not in the store's. What is drawn for a
    prompt depends on `config.seed` and its id alone.
    """
    sampling = sampling_of(config)
    rows_a_batch = config.eval.batch_rows
    shards = batch_shards(model.mesh)
    if rows_a_batch % shards:
        raise experiment.ConfigError(
            f"config.eval.batch_rows = {rows_a_batch} must be a multiple of data × fsdp = {shards}"
        )
    banned_ids = experiment.model_config(config, model.tokenizer).media_token_ids
    for shape, members in prompt_shapes(store.tokens, store.patches, rows_a_batch).items():
        batches = make_batches(
            store,
            listed_rows([[i] for i in members], rows_a_batch, local_rows(model.mesh, rows_a_batch)),
            model.tokenizer,
            experiment.layout_rules(config),
            shape,
            steps=-(-len(members) // rows_a_batch),
            mode="prompt",
            decoder=experiment.media_decoder(config),
            threads=config.data.workers,
        )
        for step, batch in enumerate(batches):
            here = members[step * rows_a_batch : (step + 1) * rows_a_batch]
            failures = {failure["id"]: failure for failure in batch.failures}
            said, failed = _generate(
                model,
                {**device_arrays(batch), "keys": _keys(batch), "failed": _failed(batch)},
                rows_a_batch,
                max_new_tokens=config.eval.max_new_tokens,
                banned_ids=banned_ids,
                sampling=sampling,
                seed=config.seed,
            )
            for i, bad, tokens, logprobs, length in zip(here, failed, *said, strict=False):
                ids, name = tokens[:length].tolist(), store[i][0].id
                yield Answer(
                    index=i,
                    text=model.tokenizer.decode(ids).strip(),
                    token_ids=ids,
                    logprobs=logprobs[:length].tolist(),
                    failure=failures.get(name, _elsewhere(name)) if bad else None,
                )


def sampling_of(config: ConfigDict) -> Sampling:
    """How `config.eval` says that tokens are chosen. Raises ConfigError naming the key."""
    try:
        return Sampling(config.eval.temperature, config.eval.top_p, config.eval.top_k)
    except ValueError as error:
        raise experiment.ConfigError(f"config.eval: {error}") from error


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
    model: LoadedModel, arrays: dict[str, np.ndarray], rows: int, *, seed: int, **options: Any
) -> tuple[Generated, np.ndarray]:
    """What was said in, and bool[rows] whether media failed for, all processes' rows."""
    stop_ids = model.tokenizer.stop_ids()
    with jax.set_mesh(model.mesh):
        placed = put_batch(arrays, model.mesh, rows)
        said = generate(
            model.graphdef,
            model.params,
            placed,
            placed["prompt_lengths"],
            stop_ids=stop_ids,
            pad_id=stop_ids[0],
            keys=placed["keys"],
            seed=seed,
            **options,
        )
        found = said, placed["failed"]
        if jax.process_count() > 1:
            return multihost_utils.process_allgather(found, tiled=True)
        return jax.device_get(found)
