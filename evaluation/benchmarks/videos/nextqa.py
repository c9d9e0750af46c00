"""NExT-QA (CVPR 2021), five options: why, how, before and after."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evaluation.benchmarks.benchmark import Benchmark, Compat
from evaluation.benchmarks.numbers import by_task, percent_by
from evaluation.benchmarks.prompts import (
    ASK_LETTER,
    choice_question,
    letter_of,
    lettered,
    lines,
)
from evaluation.benchmarks.question import Answered, Metrics, Question
from evaluation.benchmarks.source import Source
from evaluation.scoring import compat

_KINDS = {"C": "causal", "T": "temporal", "D": "descriptive"}


def read(source: Source, options: Mapping[str, Any]) -> Iterator[Question]:
    """Config "MC". A video is a number; the answer the place of an option, from 0."""
    for number, row in enumerate(source.rows("MC/test-*.parquet")):
        choices = lettered([row[f"a{i}"] for i in range(5)])
        name, text = str(row["video"]), f"{row['question'].strip()}\n{lines(choices)}\n{ASK_LETTER}"
        yield choice_question(
            f"{name}/{number}",
            (source.video(name), text),
            choices,
            letter_of(int(row["answer"]), choices),
            task=row["type"],
            cluster=name,
            asks=row["question"].strip(),
        )


def aggregate(answers: Sequence[Answered]) -> Metrics:
    """Accuracy, of causal, temporal and descriptive questions, and of each type."""
    return {**by_task(answers), **percent_by(answers, lambda a: _KINDS.get(a.task[0], a.task))}


NEXTQA = Benchmark(
    name="nextqa",
    title="NExT-QA",
    modality="video",
    repositories=("lmms-eval/NExTQA", "lmms-lab/NExTQA"),
    rows=8564,
    files="MC/test-*.parquet and videos.zip",
    read=read,
    aggregate=aggregate,
    compat=Compat(compat.nextqa, aggregate, ("accuracy",)),
)
