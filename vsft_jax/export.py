"""A model as a Hugging Face directory that transformers loads.

The directory is put together beside its place and moved there when it is complete, so it is there
whole or not at all; weight files that an interrupted export had finished are kept. Of the weights,
one tensor at a time is on the host.
"""

import functools
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import ml_dtypes
import numpy as np
from absl import logging
from jax.experimental import multihost_utils

from input_pipeline.files import replacing, write_atomically
from input_pipeline.frame_budget import spec_label
from input_pipeline.layout import VisionLayout
from input_pipeline.progress import Progress
from vsft_jax.checkpoints import home, written_at
from vsft_jax.config import EXPORT_RECORD, Run, stated_by
from vsft_jax.errors import ConfigError
from vsft_jax.huggingface import (
    INDEX,
    WEIGHTS,
    SafetensorsReader,
    hf_tensors,
    parameter_shapes,
    read_json,
    tensor_shapes,
    write_safetensors,
)
from vsft_jax.inference import LoadedModel, load_model
from vsft_jax.lora import merge
from vsft_jax.models.shared.hf.processor import NAMES, VIDEO_FILE, Stated, sampling_to_hf
from vsft_jax.processes import is_first, wait_for_all

LARGEST_FILE = 5 * 10**9  # bytes, as transformers' own
RECORD = "export.json"  # what was exported; by it an interrupted export is recognised

_DTYPES = {"bfloat16": ml_dtypes.bfloat16, "float16": np.float16, "float32": np.float32}

# (name, shape, function that makes the array on the host)
_Tensor = tuple[str, tuple[int, ...], Callable[[], np.ndarray]]
# File name -> (name, shape) of its tensors, in order.
_Files = dict[str, list[tuple[str, tuple[int, ...]]]]


def export(run: Run, *, largest_file: int = LARGEST_FILE) -> Path:
    """Writes the workdir's newest checkpoint, or without one the model of `config.model.path`.

    Leaves <workdir>/hf with weights in `config.export.dtype` (adapters merged), config.json,
    generation_config.json, the tokenizer's and the processor's files, `EXPORT_RECORD`, and
    `RECORD`. A directory that is already there is replaced. largest_file: bytes of one weight file.

    Returns the directory. Raises ConfigError for another dtype than those of `_DTYPES`, and where
    weights do not fit into it.
    """
    wanted = run.config.export.dtype
    if wanted not in _DTYPES:
        raise ConfigError(f"config.export.dtype = {wanted!r}: expected one of {tuple(_DTYPES)}")
    place, partial = run.workdir / "hf", run.workdir / "hf.partial"
    model = load_model(run)
    dtype = np.dtype(_DTYPES[wanted])
    with jax.set_mesh(model.mesh):
        tensors = _tensors(run, model, dtype)
        files = _files(tensors, dtype, largest_file)
        record = _record(run, model, files)
        if is_first():
            _begin(partial, record)
        wait_for_all("export: begin")
        _write_weights(partial, files, {name: make for name, _, make in tensors}, dtype)
    if is_first():
        _write_rest(partial, run, model, files, dtype)
        _move(partial, place)
        logging.info("exported %s, step %d, to %s", model.source, model.step, place)
    wait_for_all("export: end")
    return place


# ── Weights. ────────────────────────────────────────────────────────────────────────────────────


def _tensors(run: Run, model: LoadedModel, dtype: np.dtype) -> list[_Tensor]:
    """Every tensor under its published name."""
    family, shape = run.family, run.model_config
    table = [row for row in family.checkpoint_table(shape) if row.written]
    take = jax.jit(_part, static_argnames="dtype")

    def fetch(array: jax.Array, layer: int | None) -> np.ndarray:
        part = take(array, layer, dtype=dtype)
        if part.is_fully_addressable:
            host = np.asarray(part)
        else:
            host = multihost_utils.process_allgather(part, tiled=True)
        if dtype == np.float16 and not np.isfinite(host).all():
            raise ConfigError(
                "config.export.dtype = 'float16': a weight is beyond its largest number, 65504; "
                "export in bfloat16"
            )
        return host

    params = merge(model.graphdef, model.params)
    made = hf_tensors(family, shape, params, fetch=fetch)
    shapes = tensor_shapes(table, parameter_shapes(family, shape))
    unused = {name for row in table if not row.parts for name in row.names()}
    stored = _stored(run, unused) if unused else {}
    return [
        (released, sizes, stored.get(name, make))
        for (name, sizes), (released, make) in zip(shapes.items(), made, strict=True)
    ]


def _part(array: jax.Array, layer: jax.Array | None, dtype: np.dtype) -> jax.Array:
    """The layer is an argument, so that one compilation serves a whole stack."""
    if layer is not None:
        array = jax.lax.dynamic_index_in_dim(array, layer, keepdims=False)
    return array.astype(dtype)


def _stored(run: Run, names: set[str]) -> dict[str, Callable[[], np.ndarray]]:
    """Those of `names` that the directory of `config.model.path` holds: tensors that the model has
    no use for come back as they were."""
    if run.model_directory is None:
        return {}
    reader = SafetensorsReader(run.model_directory)
    found = {run.family.canonical_name(given): given for given in reader.shapes}

    def read(given: str) -> np.ndarray:
        return reader.read(given, (slice(None),) * len(reader.shapes[given]))

    return {name: functools.partial(read, found[name]) for name in names & found.keys()}


def _files(tensors: list[_Tensor], dtype: np.dtype, largest: int) -> _Files:
    """The tensors in order; a file ends before it grows larger than `largest` bytes."""
    parts: list[list[tuple[str, tuple[int, ...]]]] = [[]]
    size = 0
    for name, shape, _ in tensors:
        count = int(np.prod(shape)) * dtype.itemsize
        if parts[-1] and size + count > largest:
            parts.append([])
            size = 0
        parts[-1].append((name, shape))
        size += count
    if len(parts) == 1:
        return {WEIGHTS: parts[0]}
    return {f"model-{i:05d}-of-{len(parts):05d}.safetensors": p for i, p in enumerate(parts, 1)}


def _write_weights(
    directory: Path,
    files: _Files,
    make: Mapping[str, Callable[[], np.ndarray]],
    dtype: np.dtype,
) -> None:
    """Writes the files that are not there yet. Every process takes part, process 0 writes."""
    finished = np.array([(directory / file).is_file() for file in files])
    if jax.process_count() > 1:
        finished = multihost_utils.broadcast_one_to_all(finished)
    left = {
        file: parts for (file, parts), done in zip(files.items(), finished, strict=True) if not done
    }
    if len(left) < len(files):
        logging.info("%s: %d of %d files are there", directory, len(files) - len(left), len(files))
    total = sum(int(np.prod(shape)) for parts in left.values() for _, shape in parts)
    count = 0
    with Progress("export", (total * dtype.itemsize) >> 20, unit="MB") as progress:

        def made(name: str) -> np.ndarray:
            nonlocal count
            array = make[name]()
            count += array.size * dtype.itemsize
            progress.reach(count >> 20)
            return array

        for file, parts in left.items():
            if is_first():
                rows = [(name, shape, dtype) for name, shape in parts]
                write_safetensors(directory / file, rows, made, {"format": "pt"})
            else:
                for name, _ in parts:
                    made(name)


# ── What stands beside the weights. ─────────────────────────────────────────────────────────────


def _write_rest(
    directory: Path, run: Run, model: LoadedModel, files: _Files, dtype: np.dtype
) -> None:
    if len(files) > 1:
        sizes = [int(np.prod(shape)) for parts in files.values() for _, shape in parts]
        _write_json(
            directory / INDEX,
            {
                "metadata": {"total_size": sum(sizes) * dtype.itemsize},
                "weight_map": {name: file for file, parts in files.items() for name, _ in parts},
            },
        )
    kept = run.kept_files()
    for name, content in _processor(run, model).items():
        kept.pop(name, None)
        if content is not None:
            _write_json(directory / name, content)
    for name, path in kept.items():
        with replacing(directory / name) as partial:
            shutil.copyfile(path, partial)
    template = read_json(kept["tokenizer_config.json"]).get("chat_template")
    if isinstance(template, str) and not {"chat_template.jinja", "chat_template.json"} & set(kept):
        # Processors do not look for it in the tokenizer's config.
        write_atomically(directory / "chat_template.jinja", template)
    if "generation_config.json" not in kept:
        stops = list(model.tokenizer.stop_ids())
        _write_json(
            directory / "generation_config.json",
            {"do_sample": False, "eos_token_id": stops, "pad_token_id": stops[0]},
        )
    _write_json(directory / "config.json", _config(run, dtype))
    layout = {key: choice.value for key, choice in run.layout_choices.items()}
    record = {"family": run.family.name, "layout": layout, "frames": model.frame_policy}
    _write_json(directory / EXPORT_RECORD, record)


def _processor(run: Run, model: LoadedModel) -> dict[str, dict[str, Any] | None]:
    """Processor files that say how the model sees media, None for one that must not be there; {}
    where those of the directory that the model came from say so already."""
    family, frames = run.family, model.frame_policy
    vision, source = run.architecture.vision, run.model_directory
    made = family.processor_files(run.model_config, run.layout)
    # A family whose processor samples by a rule that no policy here is says so.
    samples = made.get(VIDEO_FILE, {}).get("do_sample_frames", True)
    sampling = sampling_to_hf(frames) if samples else {}
    if frames and not sampling:
        logging.info(
            "the frame policy %s has no place in transformers' processor: it is in %s, and whoever "
            "calls the processor samples clips",
            *(spec_label(frames), EXPORT_RECORD),
        )
    if source and any((source / name).is_file() for name in NAMES) and not sampling:
        stated = family.layout(vision, **family.stated_layout(vision, stated_by(source)))
        if not _differences(stated, run.layout):
            return {}
    files: dict[str, dict[str, Any] | None] = dict.fromkeys(NAMES)
    files |= made
    written = {name: content for name, content in files.items() if content}
    if VIDEO_FILE in written:
        written[VIDEO_FILE] |= sampling
    again = family.layout(vision, **family.stated_layout(vision, Stated.of(written)))
    if lost := _differences(again, run.layout):
        logging.warning(
            "transformers' processor has no place for %s: media that these decide about may become "
            "other tokens there; %s has them",
            *(", ".join(f"{key} = {value}" for key, value in lost.items()), EXPORT_RECORD),
        )
    return files


def _differences(one: VisionLayout, other: VisionLayout) -> dict[str, Any]:
    """Fields of the other that the one has not."""
    return {key: value for key, value in vars(other).items() if vars(one)[key] != value}


def _config(run: Run, dtype: np.dtype) -> dict[str, Any]:
    """config.json: that of the directory that the model came from, or one made of its numbers."""
    source, made = run.model_directory, run.family.to_hf(run.model_config)
    changed = run.config.model.vision or run.config.model.text
    stored = read_json(source / "config.json") if source and not changed else made
    kept = {key: value for key, value in stored.items() if key != "quantization_config"}
    # What is no part of the family's models has no weights here.
    kept |= {key: value for key, value in made.items() if value is None}
    kept.setdefault("architectures", made["architectures"])
    return {"torch_dtype": dtype.name} | _with_dtype(kept, dtype)


def _with_dtype(value: Any, dtype: np.dtype) -> Any:
    """A config.json whose parts say that they are stored in `dtype`."""
    if not isinstance(value, dict):
        return value
    return {
        key: dtype.name if key in ("dtype", "torch_dtype") else _with_dtype(part, dtype)
        for key, part in value.items()
    }


def _write_json(path: Path, value: Any) -> None:
    write_atomically(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


# ── Whole or not at all. ────────────────────────────────────────────────────────────────────────


def _record(run: Run, model: LoadedModel, files: _Files) -> dict[str, Any]:
    """What is exported: a partial export of anything else is not gone on with."""
    saved = home(model.source) / str(model.step)
    return {
        "source": str(model.source),
        "step": model.step,
        "written": written_at(saved) if model.step else model.source.stat().st_mtime_ns,
        "dtype": run.config.export.dtype,
        "lora_eval_scale": run.config.lora.eval_scale,
        "files": {file: [[name, list(shape)] for name, shape in p] for file, p in files.items()},
    }


def _begin(partial: Path, record: Mapping[str, Any]) -> None:
    """Makes the directory, without what another export left in it."""
    found = partial / RECORD
    if not found.is_file() or found.read_text(encoding="utf-8") != json.dumps(record):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        write_atomically(found, json.dumps(record))


def _move(partial: Path, place: Path) -> None:
    old = place.with_name(f"{place.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        place.rename(old)
    partial.rename(place)
    shutil.rmtree(old, ignore_errors=True)
