"""RealWorldQA (xAI, 2024): photographs from cars and of everyday life."""

from collections.abc import Iterator, Mapping
from typing import Any

from evaluation.benchmarks.benchmark import Benchmark, Compat
from evaluation.benchmarks.numbers import by_task
from evaluation.benchmarks.prompts import choice_question, options_in
from evaluation.benchmarks.question import Question
from evaluation.benchmarks.source import Source
from evaluation.scoring import compat


def read(source: Source, options: Mapping[str, Any]) -> Iterator[Question]:
    """Most have options, which stand in the question with the request for a letter; the others ask
    for a word or a number."""
    for number, row in enumerate(source.rows("data/test-*.parquet")):
        text, answer, name = row["question"].strip(), row["answer"].strip(), str(number)
        content = (source.image(row["image"], f"row {number}"), text)
        choices = options_in(text)
        if answer in choices:
            yield choice_question(name, content, choices, answer, task="options", cluster=name)
        else:
            yield Question(
                id=name,
                content=content,
                task="open",
                format="short",
                answer=answer,
                chance=0.0,
                cluster=name,
            )


REALWORLDQA = Benchmark(
    name="realworldqa",
    title="RealWorldQA",
    modality="image",
    repositories=("lmms-lab-encoder/RealWorldQA", "lmms-lab/RealWorldQA"),
    rows=765,
    files="data/test-*.parquet",
    read=read,
    aggregate=by_task,
    compat=Compat(compat.realworldqa, by_task, ("accuracy",)),
)
