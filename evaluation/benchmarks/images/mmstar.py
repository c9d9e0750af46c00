"""MMStar (arXiv 2403.20330): questions that need their picture, 6 categories of 3 each."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evaluation.benchmarks.benchmark import Benchmark, Compat
from evaluation.benchmarks.numbers import mean, percent, percent_by
from evaluation.benchmarks.prompts import ASK_LETTER
from evaluation.benchmarks.question import Answered, Metrics, Question
from evaluation.benchmarks.source import Source
from evaluation.scoring import compat


def read(source: Source, options: Mapping[str, Any]) -> Iterator[Question]:
    """The options stand in the questions' text."""
    for row in source.rows("*.parquet", "*/val-*.parquet"):
        name = str(row["index"])
        yield Question(
            id=name,
            content=(source.image(row["image"], name), f"{row['question'].strip()}\n{ASK_LETTER}"),
            task=row["category"],
            format="choice",
            answer=row["answer"].strip(),
            chance=0.25,
            cluster=name,
            facts={"l2_category": row["l2_category"]},
        )


def aggregate(answers: Sequence[Answered]) -> Metrics:
    """accuracy: over all 1,500. mean_of_6: over the categories, equal to it where none is missing.
    mean_of_18: over the finer ones, which is what lmms-eval prints."""
    coarse = percent_by(answers, lambda a: a.task)
    fine = percent_by(answers, lambda a: f"{a.task} {a.facts['l2_category']}")
    return {
        "accuracy": percent(answers),
        "mean_of_6": mean(list(coarse.values())),
        "mean_of_18": mean(list(fine.values())),
        **coarse,
    }


MMSTAR = Benchmark(
    name="mmstar",
    title="MMStar",
    modality="image",
    repositories=("Lin-Chen/MMStar",),
    rows=1500,
    files="mmstar.parquet (42 MB)",
    read=read,
    aggregate=aggregate,
    compat=Compat(compat.four_letters, aggregate, ("mean_of_18",)),
)
