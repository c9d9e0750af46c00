"""LVBench (arXiv 2406.08035): videos of an hour and more, six abilities."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evaluation.benchmarks.benchmark import Benchmark, Compat
from evaluation.benchmarks.numbers import percent, plain
from evaluation.benchmarks.prompts import (
    choice_question,
    lettered,
    lines,
    options_in,
    without_options,
)
from evaluation.benchmarks.question import Answered, Metrics, Question
from evaluation.benchmarks.source import Source
from evaluation.scoring import compat

_ASK = "Answer the question with the option letter"


def read(source: Source, options: Mapping[str, Any]) -> Iterator[Question]:
    """The options stand in the question, as lines or in a column of their own. A question may be of
    several types: its task is the first."""
    for number, row in enumerate(source.rows("**/train-*.parquet", "*.parquet")):
        question, apart = row["question"].strip(), row.get("options")
        choices = lettered(apart) if apart else options_in(question)
        if row["answer"].strip() not in choices:
            raise source.fail(f"row {number}: {row['answer']!r} is none of {choices}")
        if apart:
            question += f"\n{lines(choices, '({}) {}')}"
        kinds = row.get("question_type") or ["all"]
        kinds = [kinds] if isinstance(kinds, str) else list(kinds)
        yield choice_question(
            str(row.get("uid") or number),
            (source.video(row["video_path"]), f"{question}\n{_ASK}"),
            choices,
            row["answer"].strip(),
            task=kinds[0],
            cluster=row["video_path"],
            asks=without_options(row["question"]),
            kinds=kinds,
        )


def aggregate(answers: Sequence[Answered]) -> Metrics:
    """Accuracy, and of each type over all questions that are also of it."""
    kinds = sorted({kind for a in answers for kind in a.facts["kinds"]})
    return {
        "accuracy": percent(answers),
        **{plain(k): percent([a for a in answers if k in a.facts["kinds"]]) for k in kinds},
    }


LVBENCH = Benchmark(
    name="lvbench",
    title="LVBench",
    modality="video",
    repositories=("lmms-eval/LVBench", "lmms-lab/LVBench"),
    rows=1549,
    files="data/train-*.parquet and its videos",
    read=read,
    aggregate=aggregate,
    compat=Compat(compat.four_letters, aggregate, ("accuracy",)),
)
