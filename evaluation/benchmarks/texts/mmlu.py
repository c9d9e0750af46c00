"""MMLU (arXiv 2009.03300): exams in 57 subjects, four options each; asked without examples."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evaluation.benchmarks.benchmark import Benchmark
from evaluation.benchmarks.numbers import mean, percent, percent_by
from evaluation.benchmarks.prompts import ASK_LETTER, choice_question, letter_of, lettered, lines
from evaluation.benchmarks.question import Answered, Metrics, Question
from evaluation.benchmarks.source import Source


def read(source: Source, options: Mapping[str, Any]) -> Iterator[Question]:
    """Config "all", split test. Questions are called by their subject and place in it."""
    seen: Counter[str] = Counter()
    for row in source.rows("all/test-*.parquet", "data/test-*.parquet", "test-*.parquet"):
        subject, choices = row["subject"], lettered(row["choices"])
        name = f"{subject}/{seen[subject]}"
        seen[subject] += 1
        answer = letter_of(row["answer"], choices)
        if not answer:
            raise source.fail(f"{name}: there is no option {row['answer']!r}")
        text = f"{row['question'].strip()}\n{lines(choices)}\n{ASK_LETTER}"
        yield choice_question(name, (text,), choices, answer, task=subject, cluster=name)


def aggregate(answers: Sequence[Answered]) -> Metrics:
    """accuracy: over all questions. mean_of_subjects: of the 57, each counting the same."""
    by_subject = percent_by(answers, lambda answer: answer.task)
    return {
        "accuracy": percent(answers),
        "mean_of_subjects": mean(list(by_subject.values())),
        **by_subject,
    }


MMLU = Benchmark(
    name="mmlu",
    title="MMLU",
    modality="text",
    repositories=("cais/mmlu", "lighteval/mmlu"),
    rows=14042,
    files="all/test-*.parquet (3.5 MB)",
    read=read,
    aggregate=aggregate,
)
