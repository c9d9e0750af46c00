"""A TFDS data set out of any annotations: ArrayRecord shards with the media inside."""

import dataclasses
import hashlib
import importlib.util
import json
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import tensorflow_datasets as tfds
from absl import logging
from etils import epath

from input_pipeline.annotations import Rejected, columns_of, medium_name, read_annotations
from input_pipeline.examples import Example, MediaRef, Turn
from input_pipeline.media import MediaError, is_frame_folder, read_source
from input_pipeline.paths import located

if TYPE_CHECKING:
    import apache_beam as beam

MAX_MEDIUM_BYTES = 512 * 2**20  # a record is in memory as a whole

Keyed = tuple[str, dict[str, list[Any]]]  # a record and what it is known by


@dataclasses.dataclass
class CorpusConfig(tfds.core.BuilderConfig):
    """Which annotations to store.

    annotations, media_root, format, columns: see `read_annotations`. preset: a column map by its
    name, below `columns`. config_file: a training config, whose
    data set of this config's name is meant instead; root: where its relative paths start.
    split: what the one split is called. beam: see the module.
    """

    annotations: str = ""
    media_root: str = ""
    format: str = ""
    preset: str = ""
    columns: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    config_file: str = ""
    root: str = "."
    split: str = "train"
    beam: bool = False


class Corpus(tfds.core.GeneratorBasedBuilder):
    """Examples with their media; all examples over the same media share a record.

    A medium that cannot be read stays empty and says why under "problems", so that preparing the
    data set lists it. Records that are not usable are listed in <data_dir>/corpus/rejected.
    """

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [CorpusConfig(name="unset")]  # given on the command line instead
    code_path = epath.Path(__file__)  # TFDS would look for it with a package it does not require

    def __init__(self, *, file_format: Any = "array_record", **options: Any):
        super().__init__(file_format=file_format, **options)

    def _info(self) -> tfds.core.DatasetInfo:
        text, raw = tfds.features.Text(), tfds.features.Tensor(shape=(), dtype=np.object_)
        features = {
            "examples": tfds.features.Sequence(text),
            "media": tfds.features.Sequence(raw),
            "problems": tfds.features.Sequence(text),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, "Iterator[Keyed] | beam.PTransform"]:
        config = _resolved(self.builder_config)
        rejected = epath.Path(self._data_dir_root) / self.name / f"rejected-{config.name}.jsonl"
        rejected.parent.mkdir(parents=True, exist_ok=True)
        groups = _groups(config, rejected)
        if not config.beam:
            return {config.split: map(_record, groups)}
        listed = dl_manager.download_dir / f"{self.name}-{config.name}-groups.jsonl"
        listed.parent.mkdir(parents=True, exist_ok=True)
        with listed.open("w") as file:
            file.writelines(f"{json.dumps(group)}\n" for group in groups)
        return {config.split: _beam_records(str(listed))}

    def _generate_examples(self) -> NoReturn:
        raise NotImplementedError  # the splits bring their own


def _resolved(config: CorpusConfig) -> CorpusConfig:
    """The config with annotations and media_root, from its config file where it has one."""
    if config.config_file:
        spec = importlib.util.spec_from_file_location("corpus_config", config.config_file)
        if spec is None or spec.loader is None:
            raise ValueError(f"{config.config_file} is no Python file")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        data = module.get_config().data
        sets = {**data.benchmarks.to_dict(), **data.train.to_dict()}
        if config.name not in sets:
            raise ValueError(
                f"{config.config_file} has no data set {config.name!r}, only {sorted(sets)}"
            )
        entry, root = sets[config.name], located(data.root, Path(config.root).absolute())
        return dataclasses.replace(
            config,
            annotations=located(entry.get("annotations", ""), root),
            media_root=located(entry.get("media_root", ""), root),
            format=entry.get("format", ""),
            preset=entry.get("preset", ""),
            columns=entry.get("columns") or {},
        )
    if not config.annotations:
        raise ValueError(
            'corpus: name the data set, --config=\'{"name": …, "annotations": …, "media_root": …}\''
        )
    return config


# --- Grouping -----------------------------------------------------------------------------------


def _groups(config: CorpusConfig, rejected: epath.Path) -> Iterator[dict[str, Any]]:
    """{"key", "media": [[kind, path], …], "examples": [JSON, …]} for each set of media.

    The questions about a clip may stand anywhere in the annotations; a table on disk brings them
    together, whatever their number.
    """
    counts = {"examples": 0, "rejected": 0, "records": 0}
    with tempfile.TemporaryDirectory() as folder, rejected.open("w") as list_file:
        table = sqlite3.connect(f"{folder}/examples")
        table.execute("CREATE TABLE examples (key TEXT, media TEXT, example TEXT)")

        def rows() -> Iterator[tuple[str, str, str]]:
            found = read_annotations(
                *(config.annotations, config.media_root, config.name, config.format),
                columns_of(dataclasses.asdict(config)),
            )
            for example in found:
                if isinstance(example, Rejected):
                    counts["rejected"] += 1
                    list_file.write(json.dumps(dataclasses.asdict(example)) + "\n")
                    continue
                counts["examples"] += 1
                media, stored = _stored(example)
                text = json.dumps(media)
                # Examples without media have a record each, so that they are shuffled. Where the
                # media root lies is no part of the key: shards are the same on every machine.
                content = text.replace(config.media_root, "") if media else f"text {example.id}"
                key = hashlib.sha256(content.encode()).hexdigest()
                yield key, text, stored.to_json()

        table.executemany("INSERT INTO examples VALUES (?, ?, ?)", rows())
        table.execute("CREATE INDEX by_key ON examples (key)")
        group: dict[str, Any] = {"key": None}
        for key, media, text in table.execute("SELECT * FROM examples ORDER BY key, rowid"):
            if key != group["key"]:
                if group["key"] is not None:
                    yield group
                counts["records"] += 1
                group = {"key": key, "media": json.loads(media), "examples": []}
            group["examples"].append(text)
        if group["key"] is not None:
            yield group
        table.close()
    logging.info("%s: %s; see %s", config.name, counts, rejected)


def _stored(example: Example) -> tuple[list[list[str]], Example]:
    """(the example's distinct files, the example with their places among these for paths)."""
    media: list[list[str]] = []

    def piece(part: str | MediaRef) -> str | MediaRef:
        if isinstance(part, str):
            return part
        file = [part.kind, part.path]
        if file not in media:
            media.append(file)
        return dataclasses.replace(part, path=medium_name(media.index(file)))

    turns = tuple(Turn(t.role, tuple(map(piece, t.parts)), t.reasoning) for t in example.turns)
    return media, dataclasses.replace(example, turns=turns)


# --- Records ------------------------------------------------------------------------------------


def _record(group: Mapping[str, Any]) -> Keyed:
    """Key and record of a group, its media read."""
    media, problems = [], []
    for _, path in group["media"]:
        data, problem = b"", ""
        try:
            if is_frame_folder(path):
                problem = f"{path}: frame_folder: make a video file of it to store it in a record"
            else:
                data = read_source(path, MAX_MEDIUM_BYTES)
        except MediaError as error:
            problem = str(error)
        media.append(data)
        problems.append(problem)
    record = {"examples": group["examples"], "media": media, "problems": problems}
    return group["key"], record


def _beam_records(listed: str) -> "beam.PTransform":
    """The same on Beam's workers: a PTransform from a list of groups, one a line, to records."""
    import apache_beam as beam  # only where it is used

    return (
        beam.io.ReadFromText(listed)
        | "Groups" >> beam.Map(json.loads)
        | "Spread" >> beam.Reshuffle()
        | "Media" >> beam.Map(_record)
    )
