"""Result files of an evaluation: <benchmark>.json and predictions.jsonl."""

import dataclasses
import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from evaluation.records import ResultError, from_record, read_object
from evaluation.statistics import Interval, Sample, mean_interval
from input_pipeline.examples import MODALITIES
from input_pipeline.files import write_atomically
from input_pipeline.frame_budget import spec_label

PREDICTIONS_FILE = "predictions.jsonl"
# Controls against guessing, see `controls.py`, and what their scores are.
CONTROLS = {
    "no_visual": "reading the text alone",
    "one_frame": "one frame",
    "shuffled_frames": "frames in another order",
    "shuffled_options": "options under other letters",
}


@dataclasses.dataclass(frozen=True)
class Prediction:
    """One answered question: a line of predictions.jsonl.

    frames: of the question's video, None without one. why: the frame budget's reason.
    score: 0..1. chance: the score that guessing would get, 0 for open answers.
    cluster: the clip or picture that it is about, by which questions belong together; "" in older
    files. frame_times: of each of its videos the seconds, from the clip's first frame, of the
    frames that were shown; None for images and in older files. question: its words. media: its
    images and clips, each as `MediaRef.to_json` has it, paths from the provenance's `media_root`
    where they lie below it; "" and None in older files.
    """

    id: str
    benchmark: str
    task: str
    format: str
    frames: int | None
    why: str
    prediction: str
    answer: str
    score: float
    parsed: bool
    visual_tokens: int
    chance: float = 0.0
    cluster: str = ""
    frame_times: Sequence[Sequence[float]] | None = None
    question: str = ""
    media: Sequence[Sequence[str | float | None]] | None = None


@dataclasses.dataclass(frozen=True)
class Part:
    """Mean score over part of a benchmark's questions, with a 95 % interval; all in 0..1.

    n: questions. clusters: the clips or pictures that they are about, which the interval takes as
    the sample; None in older files, whose intervals take single questions.
    """

    score: float
    n: int
    low: float
    high: float
    chance: float
    clusters: int | None = None


@dataclasses.dataclass(frozen=True)
class Metric:
    """An official number of a benchmark, in its official unit, with a 95 % interval; low and high
    are None where there is none."""

    value: float
    low: float | None
    high: float | None

    @classmethod
    def of(cls, interval: Interval) -> "Metric":
        """The same as JSON can hold it."""
        ends = (None if math.isnan(end) else end for end in (interval.low, interval.high))
        return cls(interval.mean, *ends)


@dataclasses.dataclass(frozen=True)
class Provenance:
    """What a result was made with.

    frame_policy: the resolved spec of the frame policy that the questions were asked under.
    trained_with: label of the policy that the checkpoint was trained with, for print; None for a
    base model. checkpoint: {"step", "path", "fingerprint"}. config: that the model was trained
    with. examples_per_second: of the evaluation, in older files; it is no part of what was found.
    generation: the settings that answers were generated with; None in older files. media_root:
    where the questions' media lay, an absolute path or an address; "" in older files. settings:
    what else answers and scores depend on, software: versions and the device, see `provenance.py`;
    None in older files.
    """

    frame_policy: Mapping[str, Any]
    trained_with: str | None
    checkpoint: Mapping[str, Any]
    config: Mapping[str, Any]
    examples_per_second: float | None = None
    generation: Mapping[str, Any] | None = None
    media_root: str = ""
    settings: Mapping[str, Any] | None = None
    software: Mapping[str, str] | None = None

    @property
    def frame_policy_label(self) -> str:
        """The policy's name, for print and for folders."""
        return spec_label(self.frame_policy)


@dataclasses.dataclass(frozen=True)
class BenchmarkResult:
    """One model on one benchmark: the content of <benchmark>.json.

    modality: one of `MODALITIES`. score is the mean over questions (micro average), of held texts
    the likelihood of a byte, see `held_texts`; an answer that could not be read counts as
    wrong and in `unparsed`. masked: questions that could not be asked, because their media failed
    to decode; they are in no mean. by_frames has the number of frames shown as key.
    clusters: as in `Part`. metrics: the official numbers by name, where they are not the score.
    """

    benchmark: str
    modality: str
    score: float
    n: int
    low: float
    high: float
    chance: float
    unparsed: int
    masked: int
    by_task: Mapping[str, Part]
    by_frames: Mapping[str, Part]
    provenance: Provenance
    clusters: int | None = None
    metrics: Mapping[str, Metric] = dataclasses.field(default_factory=dict)

    def save(self, path: str | Path) -> None:
        """Writes the result as JSON; the file appears whole or not at all."""
        write_atomically(path, json.dumps(dataclasses.asdict(self), indent=1, allow_nan=False))

    @classmethod
    def load(cls, path: str | Path) -> "BenchmarkResult":
        """Reads what `save` wrote, now or when the provenance lay among the other fields.

        Raises ResultError naming the file and what is wrong in it.
        """
        record = read_object(path)
        record = _nested({"metrics": {}, **record})
        parts = {}
        for key, kind in (("by_task", Part), ("by_frames", Part), ("metrics", Metric)):
            groups = record.get(key)
            if not isinstance(groups, dict):
                raise ResultError(f"{path}: {key} must be an object, found {groups!r}")
            parts[key] = {
                name: from_record(kind, value, f"{path}: {key}[{name!r}]")
                for name, value in groups.items()
            }
        provenance = from_record(Provenance, record["provenance"], f"{path}: provenance")
        return from_record(cls, {**record, **parts, "provenance": provenance}, str(path))


def _nested(record: Mapping[str, Any]) -> dict[str, Any]:
    """A result's record with its provenance in one field; older files have it in seven."""
    if "provenance" in record:
        return dict(record)
    names = {field.name for field in dataclasses.fields(Provenance)}
    kept = {key: value for key, value in record.items() if key not in names}
    kept.pop("frame_policy_label", None)
    return {**kept, "provenance": {key: record[key] for key in names & set(record)}}


def summarise(
    predictions: Sequence[Prediction],
    *,
    benchmark: str,
    modality: str,
    masked: int,
    provenance: Provenance,
    metrics: Mapping[str, Interval] = MappingProxyType({}),
) -> BenchmarkResult:
    """Means, intervals and counts of one benchmark from its answered questions.

    Every question counts once, an unread answer as wrong. metrics: the official numbers, whose
    intervals `statistics.bootstrap_aggregate` makes. Raises ResultError for no questions,
    an id that occurs twice, or a prediction that belongs to another benchmark.
    """
    if modality not in MODALITIES:
        known = ", ".join(MODALITIES)
        raise ResultError(f"benchmark {benchmark!r}: modality {modality!r} is none of {known}")
    if not predictions:
        raise ResultError(
            f"benchmark {benchmark!r}: no question was answered ({masked} masked because their "
            "media could not be decoded); look at its media_root in the config"
        )
    seen: set[str] = set()
    for prediction in predictions:
        if prediction.benchmark != benchmark:
            raise ResultError(
                f"benchmark {benchmark!r}: question {prediction.id!r} belongs to "
                f"{prediction.benchmark!r}"
            )
        if prediction.id in seen:
            raise ResultError(f"benchmark {benchmark!r}: question {prediction.id!r} occurs twice")
        seen.add(prediction.id)
    total = _part(predictions)
    shown = [p for p in predictions if p.frames is not None]
    by_frames = _parts(shown, lambda p: p.frames)
    return BenchmarkResult(
        benchmark=benchmark,
        modality=modality,
        **dataclasses.asdict(total),
        unparsed=sum(not p.parsed for p in predictions),
        masked=masked,
        by_task=_parts(predictions, lambda p: p.task),
        by_frames={str(frames): part for frames, part in by_frames.items()},
        provenance=provenance,
        metrics={name: Metric.of(interval) for name, interval in metrics.items()},
    )


def save_evaluation(
    workdir: str | Path,
    frame_policy: Mapping[str, Any],
    results: Iterable[BenchmarkResult],
    predictions: Iterable[Prediction],
) -> Path:
    """Writes what one evaluation of a workdir's model found, and returns the folder:
    `evaluation_folder` with predictions.jsonl and a <benchmark>.json for each result."""
    folder = evaluation_folder(workdir, frame_policy)
    save_results(folder, results, predictions)
    return folder


def save_results(
    folder: Path, results: Iterable[BenchmarkResult], predictions: Iterable[Prediction]
) -> None:
    """Writes results and their predictions into a folder, in the place of those that stand there of
    the same benchmarks; what stands there of others stays."""
    results = list(results)
    path, names = folder / PREDICTIONS_FILE, {result.benchmark for result in results}
    kept = [p for p in read_predictions(path) if p.benchmark not in names] if path.exists() else []
    # The results last: a benchmark counts as evaluated when its file is there.
    write_predictions(path, [*kept, *predictions])
    for result in results:
        result.save(folder / f"{result.benchmark}.json")


def evaluation_folder(workdir: str | Path, frame_policy: Mapping[str, Any]) -> Path:
    """<workdir>/eval/<label>: results of the workdir's model under a frame policy."""
    return Path(workdir) / "eval" / spec_label(frame_policy)


def read_controls(folder: Path, benchmark: str) -> dict[str, BenchmarkResult]:
    """By name what controls found, from the folder that the score is in: <folder>/<control>/.

    Raises ResultError for a file that cannot be read.
    """
    paths = {name: folder / name / f"{benchmark}.json" for name in CONTROLS}
    return {name: BenchmarkResult.load(path) for name, path in paths.items() if path.exists()}


def write_predictions(path: str | Path, predictions: Iterable[Prediction]) -> None:
    """Writes one JSON line a prediction; the file appears whole or not at all."""
    rows = (json.dumps(dataclasses.asdict(p), ensure_ascii=False) for p in predictions)
    write_atomically(path, "".join(row + "\n" for row in rows))


def read_predictions(path: str | Path) -> list[Prediction]:
    """Reads predictions.jsonl. Raises ResultError naming the file, the line and what is wrong."""
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise ResultError(f"{path}: no such predictions file") from None
    predictions = []
    for number, line in enumerate(content.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise ResultError(f"{path}, line {number}: not JSON: {error}") from error
        predictions.append(from_record(Prediction, record, f"{path}, line {number}"))
    return predictions


def _parts(predictions: Iterable[Prediction], key: Callable[[Prediction], Any]) -> dict[Any, Part]:
    groups = defaultdict(list)
    for prediction in predictions:
        groups[key(prediction)].append(prediction)
    return {name: _part(groups[name]) for name in sorted(groups)}


def _part(predictions: Sequence[Prediction]) -> Part:
    names = clusters(predictions)
    interval = mean_interval(Sample(np.array([p.score for p in predictions]), names))
    chance = float(np.mean([p.chance for p in predictions]))
    ends = interval.low, interval.high
    return Part(interval.mean, interval.n, *ends, chance, len(set(names)))


def clusters(predictions: Iterable[Prediction]) -> list[str]:
    """What each question belongs together by: its cluster, of older files the question alone."""
    return [p.cluster or p.id for p in predictions]
