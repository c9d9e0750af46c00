"""Is there what a job needs? Asked before data is prepared or a model is downloaded.

What a config says by itself is checked when its `Run` is made; this is about files, devices and the
model's own files. Addresses are not touched.
"""

import glob
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from input_pipeline.errors import did_you_mean
from input_pipeline.index import DatasetSpec
from input_pipeline.paths import is_remote, located
from vsft_jax.checkpoints import home, steps_of
from vsft_jax.config.checks import base_config, check_study, layout_problems, refuse
from vsft_jax.config.data import MADE_SETS
from vsft_jax.config.run import Run
from vsft_jax.errors import ConfigError
from vsft_jax.sharding import batch_shards, make_mesh, rows_only


def check_data(run: Run) -> None:
    """Before the prepare job: all data sets and the tokenizer. Raises ConfigError."""
    refuse(
        [
            *_data_problems(run, train=run.training_sets, benchmarks=run.benchmarks),
            *_held_text_problems(run),
        ]
    )
    refuse(_model_problems(run))


def check_before_training(run: Run) -> None:
    """Training sets, where to start from, rows and devices, then the model. Raises ConfigError."""
    evaluates = run.config.train.evaluate_every > 0
    benchmarks = run.benchmarks if evaluates else []
    refuse(
        [
            *_data_problems(run, train=run.training_sets, benchmarks=benchmarks),
            *(_held_text_problems(run) if evaluates else ()),
            *_start_problems(run),
            *_training_without_effect(run),
            *_row_problems(run, training=True, evaluating=evaluates),
        ]
    )
    refuse(_model_problems(run))


def check_before_evaluation(run: Run) -> None:
    """Benchmarks, rows and devices, then the model. Raises ConfigError."""
    if not run.config.data.benchmarks:
        raise ConfigError("config.data.benchmarks is empty: there is nothing to evaluate")
    refuse(
        [
            *_data_problems(run, benchmarks=run.benchmarks),
            *_held_text_problems(run),
            *_row_problems(run, training=False, evaluating=True),
        ]
    )
    refuse(_model_problems(run))


def check_before_study(run: Run) -> None:
    """The base model's config, the data of all cells, rows and devices, then the model. Raises
    ConfigError."""
    check_study(run.config)
    based = Run(base_config(run.config), run.workdir)
    sets = {each.name: each for each in (*based.training_sets, *run.training_sets)}
    refuse(
        [
            *_data_problems(run, train=[*sets.values()], benchmarks=run.benchmarks),
            *_held_text_problems(run),
            *_row_problems(based, training=True, evaluating=True),
            *_row_problems(run, training=True, evaluating=True),
        ]
    )
    refuse([*_model_problems(based), *_model_problems(run)])


def training_row_problems(run: Run, shards: int) -> Iterator[str]:
    """Whether the rows of a step divide. shards: devices that a batch's rows are split over."""
    train = run.config.train
    if train.batch_rows % (train.accumulate * shards):  # 0 is worked out, and then divides
        yield (
            f"config.train.batch_rows = {train.batch_rows} must be a multiple of "
            f"config.train.accumulate × data × fsdp = {train.accumulate} × {shards}"
        )


def evaluation_row_problems(run: Run, shards: int) -> Iterator[str]:
    """Whether the rows of a batch of questions divide; see `training_row_problems`. Devices that
    share a row in training have rows of their own here."""
    rows, context = run.config.eval.batch_rows, run.config.mesh.context
    if rows % shards:
        axes = "data × fsdp" if context == 1 else "data × fsdp × context"
        yield f"config.eval.batch_rows = {rows} must be a multiple of {axes} = {shards}"


def _row_problems(run: Run, *, training: bool, evaluating: bool) -> Iterator[str]:
    try:
        mesh = make_mesh(run.config.mesh)
    except ValueError as error:
        yield str(error)
        return
    if training:
        yield from training_row_problems(run, batch_shards(mesh))
    if evaluating:
        yield from evaluation_row_problems(run, batch_shards(rows_only(mesh)))


def _data_problems(run: Run, **sections: Sequence[DatasetSpec]) -> Iterator[str]:
    """What is not where `config.data` says. sections: of `config.data`, with their sets."""
    root = run.data_root
    if run.config.data.root and not is_remote(root) and not Path(root).is_dir():
        yield f"config.data.root = {run.config.data.root!r}: there is no folder {root}"
        return
    for section, sets in sections.items():
        for each in sets:
            key = f"config.data.{section}.{each.name}"
            if not _is_rendered(run, each.annotations) and not _are_annotations(each.annotations):
                yield f"{key}.annotations: {_not_there(each.annotations)}"
            if not _is_rendered(run, each.media_root) and not _is_folder(each.media_root):
                yield f"{key}.media_root: {_not_there(each.media_root)}"


def _held_text_problems(run: Run) -> Iterator[str]:
    for name, texts in run.held_texts.items():
        if not _is_rendered(run, texts.file) and not _are_annotations(texts.file):
            yield f"config.data.benchmarks.{name}.annotations: {_not_there(texts.file)}"


def _start_problems(run: Run) -> Iterator[str]:
    """Whether `config.train.init_from` has a checkpoint. A run that has begun no longer asks."""
    start = run.config.train.init_from
    if not start or _has_checkpoint(run.workdir):
        return
    folder = located(start, Path())
    if not is_remote(folder) and not Path(folder).is_dir():
        yield f"config.train.init_from = {start!r}: {_not_there(folder)}"
    elif not _has_checkpoint(folder):
        yield (
            f"config.train.init_from = {start!r}: {folder} has no finished checkpoint; name the "
            "--workdir of a training"
        )


def _training_without_effect(run: Run) -> Iterator[str]:
    config = run.config
    rates = config.optimizer.learning_rate.to_dict()
    if not any(rates.values()):
        yield f"config.optimizer.learning_rate = {rates}: is 0 for every part, nothing would train"
    if config.lora.eval_scale != 1 and not config.lora.rank:
        yield (
            f"config.lora.eval_scale = {config.lora.eval_scale} has no effect: the model has no "
            "adapters (config.lora.rank = 0)"
        )
    if config.train.evaluate_every and not config.data.benchmarks:
        yield (
            f"config.train.evaluate_every = {config.train.evaluate_every} has no effect: "
            "config.data.benchmarks is empty"
        )


def _model_problems(run: Run) -> Iterator[str]:
    """What needs the files of `config.model.path`, where there is one: they may be downloaded."""
    yield from _said(lambda: layout_problems(run.config, run.layout))
    yield from _said(lambda: _router_problems(run))
    named = run.config.tokenizer
    if not named or not _is_rendered(run, located(named, run.data_root)):
        yield from _said(lambda: _tokenizer_problems(run))


def _router_problems(run: Run) -> Iterator[str]:
    coef = run.config.train.get("router_coef")
    if coef is not None and not run.architecture.text.experts:
        yield f"config.train.router_coef = {coef} has no effect: the model has no experts"


def _tokenizer_problems(run: Run) -> Iterator[str]:
    directory = run.tokenizer_dir
    if not (directory / "tokenizer.json").is_file():
        yield (
            f"config.tokenizer = {run.config.tokenizer!r}: {directory} has no tokenizer.json; name "
            "a directory with one and a chat template"
        )


def _said(find: Callable[[], Iterator[str]]) -> list[str]:
    """Problems, those that are raised too."""
    try:
        return list(find())
    except ConfigError as error:
        return [str(error)]


def _has_checkpoint(workdir: str | Path) -> bool:
    """Whether a step was completely written; without a manager, which several processes make."""
    return bool(steps_of(home(workdir)))


def _is_rendered(run: Run, path: str) -> bool:
    """Whether a path lies in a data set that is made when it is first needed."""
    return any(
        run.config.data[name] and Path(path).is_relative_to(located(folder, run.data_root))
        for name, folder in MADE_SETS.items()
    )


def _are_annotations(path: str) -> bool:
    if "*" in path:
        return is_remote(path) or bool(glob.glob(path))
    # A split of a TFDS data set is a name beside its files.
    return _is_there(path) or (Path(path).parent / "features.json").is_file()


def _is_folder(path: str) -> bool:
    return is_remote(path) or Path(path).is_dir()


def _is_there(path: str) -> bool:
    return is_remote(path) or Path(path).exists()


def _not_there(path: str) -> str:
    """That there is no such path, and what may have been meant, or how far it leads."""
    parent = Path(path).parent
    if not parent.is_dir():
        there = next(each for each in parent.parents if each.is_dir())
        return f"there is no {path}, only {there}"
    names = (entry.name for entry in itertools.islice(parent.iterdir(), _NAMES))
    return f"there is no {path}{did_you_mean(Path(path).name, names)}"


_NAMES = 1000  # looked at for a likely one
