"""Charades-STA (arXiv 1705.02101): when does it happen? Temporal grounding."""

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evaluation.benchmarks.benchmark import Benchmark, Compat
from evaluation.benchmarks.numbers import percent
from evaluation.benchmarks.question import Answered, Metrics, Question
from evaluation.benchmarks.source import Source
from evaluation.scoring import compat

_ASK = (
    "Please find the visual event described by a sentence in the video, determining its starting "
    "and ending times. The format should be: 'The event happens in the start time - end time'. For "
    "example, The event 'person turn a light on' happens in the 24.3 - 30.4 seconds. Now I will "
    "give you the textual sentence: {}. Please return its start time and end time."
)
_ASKS = "When does it happen: {}?"
_THRESHOLDS = (0.3, 0.5, 0.7)


def read(source: Source, options: Mapping[str, Any]) -> Iterator[Question]:
    """The published stretch of time is kept as it is, also where it ends behind the clip."""
    for number, row in enumerate(source.rows("**/test-*.parquet", "*.parquet", "*.jsonl")):
        start, end = (float(time) for time in row["timestamp"])
        if not start < end:
            raise source.fail(f"row {number}: the stretch of time {row['timestamp']} has no length")
        yield Question(
            id=str(number),
            content=(source.video(row["video"]), _ASK.format(row["caption"].strip().rstrip("."))),
            task="grounding",
            format="interval",
            answer=f"{start:g} - {end:g} seconds",
            chance=0.0,
            cluster=row["video"],
            asks=_ASKS.format(row["caption"].strip().rstrip(".")),
            facts={"span": [start, end]},
        )


def aggregate(answers: Sequence[Answered]) -> Metrics:
    """In percent the mean overlap (intersection over union) and the shares of answers that overlap
    by at least 0.3, 0.5 and 0.7. An answer that cannot be read overlaps by 0."""
    return {
        "miou": percent(answers),
        **{f"r1_at_{t}": percent(answers, functools.partial(_overlaps, t)) for t in _THRESHOLDS},
    }


def _overlaps(threshold: float, answer: Answered) -> float:
    return float(answer.score >= threshold)


CHARADES_STA = Benchmark(
    name="charades_sta",
    title="Charades-STA",
    modality="video",
    repositories=("lmms-eval/charades_sta", "lmms-lab/charades_sta"),
    rows=3720,
    files="data/test-*.parquet and the clips of Charades_v1_480",
    read=read,
    aggregate=aggregate,
    compat=Compat(compat.charades_sta, aggregate),
)
