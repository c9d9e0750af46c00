"""What a config means: the objects and paths that every job derives from it."""

import contextlib
import dataclasses
import functools
import itertools
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from ml_collections import ConfigDict

from demo_world import generate_world
from input_pipeline import frame_budget
from input_pipeline.batches.mixture import Mixture, parse_mixture, parse_shares
from input_pipeline.frame_budget import Tools
from input_pipeline.index.prepare import DatasetSpec, ExampleStore, IndexSpec, log_summary, prepare
from input_pipeline.layout.example_layout import VisionLayout
from input_pipeline.media.decoder import Decoder
from input_pipeline.media.frame_cache import CacheSettings
from input_pipeline.progress import Progress
from input_pipeline.text.chat_tokenizer import TOKENIZER_FILES, ChatTokenizer
from vsft_jax.frame_models import dino as frame_tools
from vsft_jax.huggingface.files import HFError, local_directory, read_json
from vsft_jax.models import FAMILIES, Family, family_named


class ConfigError(ValueError):
    """A config value cannot be used; the message names the key."""


def as_json(config: ConfigDict) -> dict[str, Any]:
    """The config as JSON values, for records of what was run."""
    return json.loads(config.to_json_best_effort())


def family(config: ConfigDict) -> Family:
    """The model family that `config.model.family` names."""
    if config.model.family not in FAMILIES:
        raise ConfigError(
            f"config.model.family = {config.model.family!r}: known families are {FAMILIES}"
        )
    return family_named(config.model.family)


def resolve_path(config: ConfigDict, workdir: str | Path, path: str) -> str:
    """An absolute path; relative ones start at `config.data.root`, or at the workdir.

    Addresses such as gs://bucket/folder stay as they are.
    """
    if "://" in path or "://" in config.data.root:
        return path if "://" in path else f"{config.data.root.rstrip('/')}/{path}"
    return str((Path(workdir) / config.data.root / path).absolute())


def tokenizer_dir(config: ConfigDict, workdir: str | Path) -> str:
    """Directory of the tokenizer and chat template.

    Where the config's is not there, the copy that training left in the workdir: a trained model
    can be used without the data it came from.
    """
    if config.model.path and not config.tokenizer:
        return str(model_dir(config))
    configured = resolve_path(config, workdir, config.tokenizer)
    copied = Path(workdir).absolute() / "tokenizer"
    if not Path(configured).is_dir() and copied.is_dir():
        return str(copied)
    return configured


def kept_files(config: ConfigDict, workdir: str | Path) -> dict[str, Path]:
    """By name, the files of tokenizer, chat template and processor that belong to the model."""
    directories = [Path(tokenizer_dir(config, workdir)), model_dir(config)]
    return {
        name: directory / name
        for directory in reversed([d for d in directories if d])
        for name in (*TOKENIZER_FILES, *_PROCESSOR_FILES)
        if (directory / name).is_file()
    }


# Beside those of `ChatTokenizer`; most are copied for transformers' sake alone.
_PROCESSOR_FILES = (
    "added_tokens.json",
    "special_tokens_map.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "preprocessor_config.json",
    "video_preprocessor_config.json",
    "processor_config.json",
)


def keep_tokenizer(config: ConfigDict, workdir: Path) -> None:
    """Copies `kept_files` into the workdir, so that the trained model can be used without them."""
    copy = workdir / "tokenizer"
    copy.mkdir(parents=True, exist_ok=True)
    for name, path in kept_files(config, workdir).items():
        if path.parent != copy:
            shutil.copyfile(path, copy / name)


def load_tokenizer(config: ConfigDict, workdir: str | Path) -> ChatTokenizer:
    """The tokenizer and chat template, with the placeholders of the config's model family."""
    return ChatTokenizer.load(tokenizer_dir(config, workdir), layout_rules(config).media_tokens)


def model_dir(config: ConfigDict) -> Path | None:
    """The Hugging Face directory that `config.model.path` names, None where it is empty.

    A hub id is downloaded. Raises ConfigError where there is no such directory.
    """
    if not config.model.path:
        return None
    try:
        return local_directory(config.model.path)
    except HFError as error:
        raise ConfigError(f"config.model.path = {config.model.path!r}: {error}") from error


def architecture(config: ConfigDict):
    """The family's ModelConfig before the tokenizer's ids are known.

    `config.model.path` gives it by its config.json, else `config.model.size` the published one;
    numbers of `config.model.vision` and `.text` are set on top. Without path and size they are all
    there is. Raises ConfigError naming the key.
    """
    module, model = family(config), config.model
    compute = {key: model[key] for key in ("dtype", "param_dtype", "remat", "attention")}
    parts = {"vision": module.vision_config, "text": module.text_config}
    try:
        if model.path:
            found = _stored_architecture(config, compute)
        elif model.size:
            found = module.published(model.size, **compute)
        else:
            parts = {name: kind(**model[name].to_dict()) for name, kind in parts.items()}
            return module.model_config(**parts, **compute)
        changed = {
            name: dataclasses.replace(getattr(found, name), **model[name].to_dict())
            for name in parts
        }
        return dataclasses.replace(found, **changed)
    except ConfigError:
        raise
    except (TypeError, ValueError) as error:
        raise ConfigError(f"config.model: {error}") from error


# What makes the size of a model; a vocabulary may have been enlarged for fine-tuning.
_SIZES = ("depth", "width", "mlp_width", "heads", "kv_heads")


def _stored_architecture(config: ConfigDict, compute: Mapping[str, str]):
    """The ModelConfig of `config.model.path`, checked against family and size."""
    module, directory, key = family(config), model_dir(config), config.model.path
    stored = read_json(directory / "config.json")
    try:
        found = module.from_hf(stored, **compute)
    except ValueError as error:
        raise ConfigError(
            f"config.model.path = {key!r} holds a {stored.get('model_type')!r} model, which does "
            f"not go with config.model.family = {config.model.family!r}: {error}"
        ) from error
    if config.model.size:
        published = module.published(config.model.size, **compute)
        for part, name in itertools.product(("vision", "text"), _SIZES):
            has, wanted = (getattr(getattr(c, part), name, None) for c in (found, published))
            if has != wanted:
                raise ConfigError(
                    f"config.model.path = {key!r} is not of config.model.size = "
                    f"{config.model.size!r}: its {part} {name} is {has}, not {wanted}"
                )
    return dataclasses.replace(found, vision=_with_statistics(found.vision, directory))


def _with_statistics(vision, directory: Path):
    """A VisionConfig with the pixel statistics of a directory's image processor."""
    stored: dict[str, Any] = {}
    for name in ("processor_config.json", "preprocessor_config.json"):  # new and old layout
        if (directory / name).is_file():
            content = read_json(directory / name)
            stored |= content.get("image_processor", content)
    keys = [key for key in ("image_mean", "image_std") if stored.get(key)]
    return dataclasses.replace(vision, **{key: tuple(stored[key]) for key in keys})


def model_config(config: ConfigDict, tokenizer: ChatTokenizer):
    """The family's ModelConfig, its special token ids read from the tokenizer.

    Raises ConfigError for an unknown or unfitting key of `config.model`, for a vocabulary that is
    smaller than the tokenizer's, and for ids that differ from those of `config.model.path`.
    """
    found = architecture(config)
    if tokenizer.vocab_size > found.text.vocab_size:
        raise ConfigError(
            f"the model's vocab_size is {found.text.vocab_size}, but the tokenizer has "
            f"{tokenizer.vocab_size} ids: config.tokenizer and config.model do not belong together"
        )
    ids = {}
    for field, token in family(config).special_tokens.items():
        ids[field], stored = tokenizer.token_id(token), getattr(found, field)
        if config.model.path and ids[field] != stored:
            raise ConfigError(
                f"config.model.path = {config.model.path!r}: {field} is {stored} in config.json, "
                f"but the tokenizer's {token} is {ids[field]}; they do not belong together"
            )
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


def mixture(config: ConfigDict) -> Mixture:
    """What an epoch takes of each training set, by `config.data`.

    Raises ConfigError naming the key.
    """
    data, known = config.data, list(config.data.train)
    try:
        replay = parse_shares(data.replay)
        amounts = parse_mixture(data.mixture) or {
            name: entry.get("weight", 1.0)
            for name, entry in data.train.items()
            if name not in replay and entry.get("weight", 1.0) > 0
        }
        found = Mixture(amounts, data.epoch, replay, data.replay_unit)
    except ValueError as error:
        raise ConfigError(f"config.data.train, .mixture, .epoch or .replay: {error}") from error
    if unknown := sorted(set(found.names) - set(known)):
        raise ConfigError(
            f"config.data.mixture or .replay names {unknown}; config.data.train has {known}"
        )
    return found


def _training_sets(config: ConfigDict) -> dict[str, ConfigDict]:
    """Those of the mixture, in the config's order."""
    names = set(mixture(config).names)
    return {name: entry for name, entry in config.data.train.items() if name in names}


def prepare_training(config: ConfigDict, workdir: str | Path, retry: bool = False) -> Prepared:
    """Prepares every training set that the mixture takes part of. retry: see `prepare`."""
    chosen = _training_sets(config)
    frames = resolve_frames(config, workdir)
    return _prepare(config, workdir, chosen, "train", frames, retry)


def prepare_benchmarks(
    config: ConfigDict, workdir: str | Path, frames: Mapping, retry: bool = False
) -> Prepared:
    """Prepares every benchmark under a resolved frame-budget spec. retry: see `prepare`."""
    return _prepare(config, workdir, dict(config.data.benchmarks.items()), "prompt", frames, retry)


def resolve_frames(config: ConfigDict, workdir: str | Path) -> dict[str, Any]:
    """`config.frames` as a spec that stands on its own.

    Only random_matched needs work: the histogram that it copies comes from its `of` policy's
    budgets on the training sets.
    """

    def budgets(spec: Mapping[str, Any]) -> np.ndarray:
        prepared = _prepare(config, workdir, _training_sets(config), "train", dict(spec))
        found = np.concatenate([ExampleStore.open(p).budgets for p in prepared.paths.values()])
        return found[found > 0]

    return frame_budget.resolve_spec(config.frames.to_dict(), budgets)


def index_spec(config: ConfigDict, workdir: str | Path, frames: Mapping[str, Any]) -> IndexSpec:
    """What a prepared index depends on besides the data, for a resolved frame-budget spec."""
    return IndexSpec(
        tokenizer_dir=tokenizer_dir(config, workdir),
        layout=layout_rules(config),
        frame_policy=frames,
        max_tokens=config.layout.row_tokens,
        max_patches=config.layout.row_patches,
        tools=_tools(config, workdir, frames),
    )


def _tools(config: ConfigDict, workdir: str | Path, frames: Mapping[str, Any]) -> Tools:
    """The models of a frame policy that needs some."""
    if not frame_budget.needs_model(frames):
        return Tools()
    if config.data.prepare_processes:
        raise ConfigError(
            f"config.data.prepare_processes = {config.data.prepare_processes}: a frame policy that "
            "asks a model works in threads (config.data.workers); set it to 0"
        )
    return frame_tools.tools(config, index_dir(config, workdir))


def index_dir(config: ConfigDict, workdir: str | Path) -> Path:
    """Where prepared indexes and what was found out for them live. Raises ConfigError."""
    if "://" in config.data.index_dir:
        raise ConfigError(
            f"config.data.index_dir = {config.data.index_dir!r} is an address: mount the bucket "
            "and name the folder"
        )
    return Path(config.data.index_dir or Path(workdir) / "index").absolute()


def _prepare(
    config, workdir, datasets, mode: str, frames: Mapping[str, Any], retry: bool = False
) -> Prepared:
    paths, summaries = {}, {}
    with _first_process_first():
        ensure_demo_world(config, workdir)
        spec = index_spec(config, workdir, frames)
        for name, entry in datasets.items():
            dataset = DatasetSpec(
                name,
                annotations=resolve_path(config, workdir, entry.annotations),
                media_root=resolve_path(config, workdir, entry.get("media_root", "")),
                mode=mode,
                format=entry.get("format", ""),
            )
            paths[name], summaries[name] = prepare(
                dataset,
                spec,
                index_dir(config, workdir),
                workers=config.data.prepare_processes or config.data.workers,
                processes=config.data.prepare_processes > 0,
                decoder=media_decoder(config),
                max_bad_fraction=config.data.max_bad_fraction,
                retry=retry and jax.process_index() == 0,
            )
            if jax.process_index() == 0:
                log_summary(summaries[name])
    return Prepared(paths, summaries, dict(frames))


def media_decoder(config: ConfigDict) -> Decoder:
    """What probes and decodes the config's media: one for all jobs of this process, so that decoder
    processes start once. Raises ConfigError."""
    data = config.data
    if data.decoder not in ("processes", "threads"):
        raise ConfigError(
            f'config.data.decoder = {data.decoder!r}: expected "processes" or "threads"'
        )
    for key in ("workers", "decode_threads", "decode_timeout_s"):
        if data[key] <= 0:
            raise ConfigError(f"config.data.{key} = {data[key]} must be positive")
    cache = None
    if data.cache_dir:
        if data.cache_gb <= 0:
            raise ConfigError(f"config.data.cache_gb = {data.cache_gb} must be positive")
        directory = Path(data.cache_dir).absolute()
        cache = CacheSettings(str(directory), int(data.cache_gb * 1e9))
    processes = data.workers * (data.decoder == "processes")
    return _decoder(processes, data.decode_timeout_s, cache, data.decode_threads)


_decoder = functools.lru_cache(maxsize=1)(Decoder)


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
