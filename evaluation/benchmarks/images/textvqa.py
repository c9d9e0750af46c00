"""TextVQA (arXiv 1904.08920), validation: questions about text in pictures."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from evaluation.benchmarks.benchmark import Benchmark, Compat
from evaluation.benchmarks.numbers import by_task
from evaluation.benchmarks.prompts import ASK_WORD
from evaluation.benchmarks.question import Question
from evaluation.benchmarks.source import Source
from evaluation.scoring import compat


def read(source: Source, options: Mapping[str, Any]) -> Iterator[Question]:
    """Each with the answers of ten people; no text that others have read is given."""
    for row in source.rows("data/validation-*.parquet"):
        answers = [str(answer) for answer in row["answers"]]
        name = str(row["image_id"])
        yield Question(
            id=str(row["question_id"]),
            content=(
                source.image(row["image"], name),
                f"{row['question'].strip().capitalize()}\n{ASK_WORD}",
            ),
            task="validation",
            format="consensus",
            answer=Counter(answers).most_common(1)[0][0],
            chance=0.0,
            cluster=name,
            facts={"answers": answers},
        )


TEXTVQA = Benchmark(
    name="textvqa",
    title="TextVQA",
    modality="image",
    repositories=("lmms-lab-encoder/textvqa", "lmms-lab/textvqa"),
    rows=5000,
    files="data/validation-*.parquet",
    read=read,
    aggregate=by_task,
    compat=Compat(compat.textvqa, by_task, ("accuracy",)),
)
