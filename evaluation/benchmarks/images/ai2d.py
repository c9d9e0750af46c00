"""AI2D (ECCV 2016), test: diagrams of school books."""

from collections.abc import Iterator, Mapping
from typing import Any

from evaluation.benchmarks.benchmark import Benchmark, Compat
from evaluation.benchmarks.numbers import by_task
from evaluation.benchmarks.prompts import (
    ASK_LETTER,
    choice_question,
    letter_of,
    lettered,
    lines,
)
from evaluation.benchmarks.question import Question
from evaluation.benchmarks.source import Source
from evaluation.scoring import compat


def read(source: Source, options: Mapping[str, Any]) -> Iterator[Question]:
    """The answer is the place of an option, from 0, as text."""
    for number, row in enumerate(source.rows("data/test-*.parquet")):
        choices = lettered(row["options"])
        answer = letter_of(int(row["answer"]), choices)
        if not answer:
            raise source.fail(f"row {number}: there is no option {row['answer']!r} of {choices}")
        yield choice_question(
            str(number),
            (
                source.image(row["image"], f"row {number}"),
                f"{row['question'].strip()}\n{lines(choices)}\n{ASK_LETTER}",
            ),
            choices,
            answer,
            task="test",
            cluster=str(number),
        )


AI2D = Benchmark(
    name="ai2d",
    title="AI2D",
    modality="image",
    repositories=("lmms-lab-encoder/ai2d", "lmms-lab/ai2d"),
    rows=3088,
    files="data/test-*.parquet",
    read=read,
    aggregate=by_task,
    compat=Compat(compat.ai2d, by_task, ("accuracy",)),
)
