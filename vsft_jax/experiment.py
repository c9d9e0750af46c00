"""What a config means: the objects and paths that every job derives from it."""

import contextlib
import dataclasses
import importlib
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from ml_collections import ConfigDict

from input_pipeline import frame_budget
from input_pipeline.chat import TOKENIZER_FILES, ChatTokenizer
from input_pipeline.demo_world import generate_world
from input_pipeline.index import DatasetSpec, ExampleStore, IndexSpec, log_summary, prepare
from input_pipeline.layout import VisionLayout
from input_pipeline.progress import Progress
from vsft_jax.models import FAMILIES


class ConfigError(ValueError):
    """A config value cannot be used; the message names the key."""


def family(config: ConfigDict):
    """The module of the model family that `config.model.family` names."""
    if config.model.family not in FAMILIES:
        raise ConfigError(
            f"config.model.family = {config.model.family!r}: known families are {FAMILIES}"
        )
    return importlib.import_module(f"vsft_jax.models.{config.model.family}")


def resolve_path(config: ConfigDict, workdir: str | Path, path: str) -> str:
    """An absolute path; relative ones start at `config.data.root`, or at the workdir."""
    return str((Path(workdir) / config.data.root / path).absolute())


def tokenizer_dir(config: ConfigDict, workdir: str | Path) -> str:
    """Directory of the tokenizer and chat template.

    Where the config's is not there, the copy that training left in the workdir: a trained model
    can be used without the data it came from.
    """
    if config.model.path and not config.tokenizer:
        return str(config.model.path)
    configured = resolve_path(config, workdir, config.tokenizer)
    copied = Path(workdir).absolute() / "tokenizer"
    if not Path(configured).is_dir() and copied.is_dir():
        return str(copied)
    return configured


def keep_tokenizer(config: ConfigDict, workdir: Path) -> None:
    """Copies the tokenizer and chat template into the workdir."""
    source, copy = Path(tokenizer_dir(config, workdir)), workdir / "tokenizer"
    if source == copy:
        return
    copy.mkdir(parents=True, exist_ok=True)
    for name in TOKENIZER_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, copy / name)


def load_tokenizer(config: ConfigDict, workdir: str | Path) -> ChatTokenizer:
    """The tokenizer and chat template, with the placeholders of the config's model family."""
    return ChatTokenizer.load(tokenizer_dir(config, workdir), layout_rules(config).media_tokens)


def architecture(config: ConfigDict):
    """The family's ModelConfig before the tokenizer's ids are known.

    `config.model.path` gives it by its config.json, else `config.model.size` the published one,
    else `config.model.vision` and `.text` every number. Raises ConfigError naming the key.
    """
    module, model = family(config), config.model
    compute = {key: model[key] for key in ("dtype", "param_dtype", "remat", "attention")}
    numbers = {"vision": module.VisionConfig, "text": module.TextConfig}
    try:
        if model.path:
            return module.from_hf(read_config_json(model.path), **compute)
        if model.size:
            return module.published(model.size, **compute)
        parts = {name: kind(**model[name].to_dict()) for name, kind in numbers.items()}
        return module.ModelConfig(**parts, **compute)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"config.model: {error}") from error


def read_config_json(path: str) -> dict[str, Any]:
    """config.json of a Hugging Face directory. Raises ConfigError where there is none."""
    file = Path(path) / "config.json"
    if not file.is_file():
        raise ConfigError(f"config.model.path = {path!r} has no config.json")
    return json.loads(file.read_text(encoding="utf-8"))


def model_config(config: ConfigDict, tokenizer: ChatTokenizer):
    """The family's ModelConfig, its special token ids read from the tokenizer.

    Raises ConfigError for an unknown or unfitting key of `config.model`, and for a vocabulary that
    is smaller than the tokenizer's.
    """
    found = architecture(config)
    if tokenizer.vocab_size > found.text.vocab_size:
        raise ConfigError(
            f"the model's vocab_size is {found.text.vocab_size}, but the tokenizer has "
            f"{tokenizer.vocab_size} ids: config.tokenizer and config.model do not belong together"
        )
    tokens = family(config).SPECIAL_TOKENS
    ids = {field: tokenizer.token_id(token) for field, token in tokens.items()}
    return dataclasses.replace(found, **ids)


def layout_rules(config: ConfigDict) -> VisionLayout:
    """Layout rules: geometry from the model's tower, what may be chosen from `config.layout`."""
    choices = config.layout.to_dict()
    del choices["row_tokens"], choices["row_patches"]
    try:
        return family(config).layout(architecture(config).vision, **choices)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"config.layout: {error}") from error


@dataclasses.dataclass(frozen=True)
class Prepared:
    """Indexes of a job's data sets and what was counted while making them."""

    paths: Mapping[str, Path]
    summaries: Mapping[str, dict[str, Any]]
    frames: dict[str, Any]  # the resolved frame-budget spec


def prepare_training(config: ConfigDict, workdir: str | Path) -> Prepared:
    """Prepares every training set with a weight above zero."""
    chosen = {n: d for n, d in config.data.train.items() if d.weight > 0}
    if not chosen:
        raise ConfigError("config.data.train has no data set with a weight above 0")
    frames = resolve_frames(config, workdir)
    return _prepare(config, workdir, chosen, "train", frames)


def prepare_benchmarks(config: ConfigDict, workdir: str | Path, frames: Mapping) -> Prepared:
    """Prepares every benchmark under a resolved frame-budget spec."""
    return _prepare(config, workdir, dict(config.data.benchmarks.items()), "prompt", frames)


def resolve_frames(config: ConfigDict, workdir: str | Path) -> dict[str, Any]:
    """`config.frames` as a spec that stands on its own.

    Only random_matched needs work: the histogram that it copies comes from its `of` policy's
    budgets on the training sets.
    """

    def budgets(spec: Mapping[str, Any]) -> np.ndarray:
        chosen = {n: d for n, d in config.data.train.items() if d.weight > 0}
        prepared = _prepare(config, workdir, chosen, "train", dict(spec))
        found = np.concatenate([ExampleStore.open(p).budgets for p in prepared.paths.values()])
        return found[found > 0]

    return frame_budget.resolve_spec(config.frames.to_dict(), budgets)


def index_spec(config: ConfigDict, workdir: str | Path, frames: Mapping[str, Any]) -> IndexSpec:
    """What a prepared index depends on besides the data, for a resolved frame-budget spec."""
    return IndexSpec(
        tokenizer_dir=tokenizer_dir(config, workdir),
        layout=layout_rules(config),
        frames=frames,
        max_tokens=config.layout.row_tokens,
        max_patches=config.layout.row_patches,
    )


def _prepare(config, workdir, datasets, mode: str, frames: Mapping[str, Any]) -> Prepared:
    index_dir = Path(config.data.index_dir or Path(workdir) / "index").absolute()
    paths, summaries = {}, {}
    with _first_process_first():
        ensure_demo_world(config, workdir)
        spec = index_spec(config, workdir, frames)
        for name, entry in datasets.items():
            dataset = DatasetSpec(
                name,
                annotations=resolve_path(config, workdir, entry.annotations),
                media_root=resolve_path(config, workdir, entry.media_root),
                mode=mode,
            )
            workers = config.data.workers
            paths[name], summaries[name] = prepare(dataset, spec, index_dir, workers=workers)
            if jax.process_index() == 0:
                log_summary(summaries[name])
    return Prepared(paths, summaries, dict(frames))


@contextlib.contextmanager
def _first_process_first() -> Iterator[None]:
    """Process 0 does the work; the others follow and find it done on the shared file system."""
    if jax.process_index() != 0:
        multihost_utils.sync_global_devices("first process first")
    yield
    if jax.process_index() == 0 and jax.process_count() > 1:
        multihost_utils.sync_global_devices("first process first")


def ensure_demo_world(config: ConfigDict, workdir: str | Path) -> None:
    """Generates the built-in data set into <data.root>/world when the config asks for it."""
    sizes = config.data.demo_world.to_dict()
    if not sizes:
        return
    total = sum(count for name, count in sizes.items() if name != "seed")
    with Progress("demo world", total=total, unit="files") as progress:
        generate_world(
            resolve_path(config, workdir, "world"),
            **sizes,
            progress=lambda done, _: progress.reach(done),
        )
