"""Result files of an evaluation: <benchmark>.json and predictions.jsonl."""

import dataclasses
import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.statistics import mean_interval

PREDICTIONS_FILE = "predictions.jsonl"


class ResultError(ValueError):
    """A result file that cannot be used; the message names the file and what is wrong."""


@dataclasses.dataclass(frozen=True)
class Prediction:
    """One answered question: a line of predictions.jsonl.

    frames: of the question's video, None for an image. why: the frame budget's reason.
    score: 0..1. chance: the score that guessing would get, 0 for open answers.
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


@dataclasses.dataclass(frozen=True)
class Part:
    """Mean score over part of a benchmark's questions, with a 95 % interval; all in 0..1."""

    score: float
    n: int
    low: float
    high: float
    chance: float


@dataclasses.dataclass(frozen=True)
class BenchmarkResult:
    """One model on one benchmark: the content of <benchmark>.json.

    score is the mean over questions (micro average); an answer that could not be read counts as
    wrong and in `unparsed`. masked: questions that could not be asked, because their media failed
    to decode; they are in no mean. by_frames has the number of frames shown as key.
    trained_with: label of the policy that the checkpoint was trained with, None for a base model.
    generation: the settings that answers were generated with; None in older files.
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
    frame_policy: Mapping[str, Any]
    frame_policy_label: str
    trained_with: str | None
    checkpoint: Mapping[str, Any]
    examples_per_second: float
    config: Mapping[str, Any]
    generation: Mapping[str, Any] | None = None

    def save(self, path: str | Path) -> None:
        """Writes the result as JSON; the file appears whole or not at all."""
        write_atomically(path, json.dumps(dataclasses.asdict(self), indent=1, allow_nan=False))

    @classmethod
    def load(cls, path: str | Path) -> "BenchmarkResult":
        """Reads what `save` wrote. Raises ResultError naming the file and what is wrong in it."""
        try:
            record = json.loads(Path(path).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ResultError(f"{path}: no such result file") from None
        except ValueError as error:
            raise ResultError(f"{path}: not JSON: {error}") from error
        parts = {}
        for key in ("by_task", "by_frames"):
            groups = record.get(key) if isinstance(record, dict) else None
            if not isinstance(groups, dict):
                raise ResultError(f"{path}: {key} must be an object, found {groups!r}")
            parts[key] = {
                name: _from_record(Part, value, f"{path}: {key}[{name!r}]")
                for name, value in groups.items()
            }
        return _from_record(cls, {**record, **parts}, str(path))


def summarise(
    predictions: Sequence[Prediction],
    *,
    benchmark: str,
    modality: str,
    masked: int,
    frame_policy: Mapping[str, Any],
    frame_policy_label: str,
    trained_with: str | None,
    checkpoint: Mapping[str, Any],
    examples_per_second: float,
    config: Mapping[str, Any],
    generation: Mapping[str, Any] | None = None,
) -> BenchmarkResult:
    """Means, intervals and counts of one benchmark from its answered questions.

    Every question counts once, an unread answer as wrong. Raises ResultError for no questions,
    an id that occurs twice, or a prediction that belongs to another benchmark.
    """
    if modality not in ("image", "video"):
        raise ResultError(f"benchmark {benchmark!r}: modality {modality!r} is not image or video")
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
        frame_policy=frame_policy,
        frame_policy_label=frame_policy_label,
        trained_with=trained_with,
        checkpoint=checkpoint,
        examples_per_second=examples_per_second,
        config=config,
        generation=generation,
    )


def write_predictions(path: str | Path, predictions: Iterable[Prediction]) -> None:
    """Writes one JSON line a prediction; the file appears whole or not at all."""
    rows = (json.dumps(dataclasses.asdict(p), ensure_ascii=False) for p in predictions)
    write_atomically(path, "".join(row + "\n" for row in rows))


def read_predictions(path: str | Path) -> list[Prediction]:
    """Reads predictions.jsonl. Raises ResultError naming the file, the line and what is wrong."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ResultError(f"{path}: no such predictions file") from None
    predictions = []
    # Not splitlines(): an answer may hold other line separators, which JSON does not escape.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise ResultError(f"{path}, line {number}: not JSON: {error}") from error
        predictions.append(_from_record(Prediction, record, f"{path}, line {number}"))
    return predictions


def write_atomically(path: str | Path, text: str) -> None:
    """Writes text through a temporary file in the same folder, which is made if needed."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _parts(predictions: Iterable[Prediction], key: Callable[[Prediction], Any]) -> dict[Any, Part]:
    groups = defaultdict(list)
    for prediction in predictions:
        groups[key(prediction)].append(prediction)
    return {name: _part(groups[name]) for name in sorted(groups)}


def _part(predictions: Sequence[Prediction]) -> Part:
    interval = mean_interval(np.array([p.score for p in predictions]))
    chance = float(np.mean([p.chance for p in predictions]))
    return Part(interval.mean, interval.n, interval.low, interval.high, chance)


def _from_record(cls: type, record: Any, where: str) -> Any:
    if not isinstance(record, dict):
        raise ResultError(f"{where}: expected an object, found {record!r}")
    fields = dataclasses.fields(cls)
    required = {f.name for f in fields if f.default is dataclasses.MISSING}
    if missing := sorted(required - set(record)):
        raise ResultError(f"{where}: missing {', '.join(missing)}")
    if unknown := sorted(set(record) - {f.name for f in fields}):
        raise ResultError(f"{where}: unknown {', '.join(unknown)}")
    return cls(**record)
