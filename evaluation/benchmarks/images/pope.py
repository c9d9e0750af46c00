"""POPE (arXiv 2305.10355): is an object in the picture? In three ways of choosing absent ones."""

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evaluation.benchmarks.benchmark import Benchmark, Compat
from evaluation.benchmarks.numbers import grouped, mean, percent, ratio, total
from evaluation.benchmarks.prompts import ASK_WORD
from evaluation.benchmarks.question import Answered, Metrics, Question, Value
from evaluation.benchmarks.source import Source
from evaluation.scoring import compat, parse_yes_no

_FULL = ("adversarial", "popular", "random")
_said = functools.lru_cache(4096)(parse_yes_no)  # few different answers, counted many times


def read(source: Source, options: Mapping[str, Any]) -> Iterator[Question]:
    """The config "default", or where it is not there the three splits of "Full"."""
    if source.has("data/test-*.parquet"):
        tables = ["data/test-*.parquet"]
    else:
        tables = [f"Full/{split}-*.parquet" for split in _FULL]
    for table in tables:
        for row in source.rows(table):
            name, text = str(row["image_source"]), row["question"].strip()
            yield Question(
                id=f"{row['category']}/{row['question_id']}",
                content=(source.image(row["image"], name), f"{text}\n{ASK_WORD}"),
                task=row["category"],
                format="yes_no",
                answer=row["answer"].strip().lower(),
                chance=0.5,
                cluster=name,
            )


def aggregate(answers: Sequence[Answered]) -> Metrics:
    """In percent accuracy, F1 of "yes", and the share of "yes" among the answers that can be read:
    over all questions (f1_overall), by category, and the mean of the categories' F1
    (f1_mean_of_categories). An answer that cannot be read says no "yes"."""
    groups = grouped(answers, lambda a: a.task)
    f1 = {name: _f1(group) for name, group in sorted(groups.items())}
    readable = [a for a in answers if _said(a.text)]
    return {
        "accuracy": percent(answers),
        "f1_overall": _f1(answers),
        "f1_mean_of_categories": mean(list(f1.values())),
        "yes_ratio": percent(readable, _says_yes) if readable else 0.0,
        **{f"f1_{name}": value for name, value in f1.items()},
        **{f"accuracy_{name}": percent(group) for name, group in sorted(groups.items())},
    }


def _says_yes(answer: Answered) -> float:
    return float(_said(answer.text) == "yes")


def _f1(answers: Sequence[Answered]) -> Value:
    there = [a for a in answers if a.answer == "yes"]
    return 200 * ratio(total(there, _says_yes), total(answers, _says_yes) + total(there))


def exact_words(answers: Sequence[Answered]) -> Metrics:
    """As lmms-eval counts: only the bare word is an answer, and what is neither "yes" nor "no" is
    no miss, so that it raises F1. Its yes_ratio, which is that of the right answers and not of what
    was said, is left out."""
    said = functools.cache(lambda text: compat.visible(text).lower())
    there = [a for a in answers if a.answer == "yes"]
    hits = total(there, lambda a: said(a.text) == "yes")
    misses = total(there, lambda a: said(a.text) == "no")
    false_alarms = total(answers, lambda a: a.answer == "no" and said(a.text) == "yes")
    return {
        "accuracy": percent(answers),
        "f1_overall": 200 * ratio(hits, 2 * hits + false_alarms + misses),
        "precision": 100 * ratio(hits, hits + false_alarms),
        "recall": 100 * ratio(hits, hits + misses),
    }


POPE = Benchmark(
    name="pope",
    title="POPE",
    modality="image",
    repositories=("lmms-lab-encoder/POPE", "lmms-lab/POPE"),
    rows=9000,
    files="data/test-*.parquet, or Full/*.parquet (256 MB each)",
    read=read,
    aggregate=aggregate,
    compat=Compat(compat.pope, exact_words),
)
