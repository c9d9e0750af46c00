"""OCRBench (arXiv 2305.07895): a thousand things to be read, in five groups."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evaluation.benchmarks.benchmark import Benchmark, Compat
from evaluation.benchmarks.numbers import percent, percent_by, total
from evaluation.benchmarks.question import Answered, Metrics, Question
from evaluation.benchmarks.source import Source
from evaluation.scoring import compat


def read(source: Source, options: Mapping[str, Any]) -> Iterator[Question]:
    """Right is what contains an answer. Formulas (HME100k) are compared without their spaces."""
    for number, row in enumerate(source.rows("data/test-*.parquet")):
        answers = row["answer"] if isinstance(row["answer"], list) else [row["answer"]]
        answers = [str(answer) for answer in answers]
        yield Question(
            id=str(number),
            content=(source.image(row["image"], f"row {number}"), row["question"].strip()),
            task=row["question_type"],
            format="contains",
            answer=answers[0],
            chance=0.0,
            cluster=str(number),
            facts={"answers": answers, "ignore_spaces": row["dataset"] == "HME100k"},
        )


def aggregate(answers: Sequence[Answered]) -> Metrics:
    """score: how many are right, of 1,000. accuracy and each group in percent."""
    return {
        "score": total(answers, lambda a: a.score),
        "accuracy": percent(answers),
        **percent_by(answers, lambda a: a.task),
    }


OCRBENCH = Benchmark(
    name="ocrbench",
    title="OCRBench",
    modality="image",
    repositories=("echo840/OCRBench",),
    rows=1000,
    files="data/test-*.parquet",
    read=read,
    aggregate=aggregate,
    compat=Compat(compat.ocrbench, aggregate, ("score",)),
)
