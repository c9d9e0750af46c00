"""MMMU (arXiv 2311.16502), validation: questions of university courses, up to seven pictures."""

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evaluation.benchmarks.benchmark import Benchmark, Compat
from evaluation.benchmarks.numbers import by_task, percent
from evaluation.benchmarks.prompts import (
    ASK_LETTER,
    ASK_WORD,
    choice_question,
    letter_of,
    lettered,
    lines,
)
from evaluation.benchmarks.question import Answered, Medium, Metrics, Question
from evaluation.benchmarks.source import Source
from evaluation.scoring import compat

_TAG = re.compile(r"(<image (\d)>)")


def read(source: Source, options: Mapping[str, Any]) -> Iterator[Question]:
    """options and, of open questions, several answers are lists written as text. A picture stands
    where it is first mentioned, in the question or in an option."""
    for row in source.rows("data/validation-*.parquet", "*/validation-*.parquet"):
        name = row["id"]
        task = "_".join(name.split("_")[1:-1])
        if row["question_type"] == "multiple-choice":
            choices = lettered(_listed(row["options"]))
            answer = letter_of(row["answer"], choices)
            if not answer:
                raise source.fail(f"{name}: the answer {row['answer']!r} is none of {choices}")
            text = f"{row['question'].strip()}\n{lines(choices)}\n\n{ASK_LETTER}"
            content = _content(source, row, text)
            yield choice_question(name, content, choices, answer, task=task, cluster=name)
        else:
            answers = _listed(row["answer"])
            yield Question(
                id=name,
                content=_content(source, row, f"{row['question'].strip()}\n\n{ASK_WORD}"),
                task=task,
                format="short",
                answer=answers[0],
                chance=0.0,
                cluster=name,
                facts={"answers": answers},
            )


def _listed(text: Any) -> list[str]:
    """ "['a', 'b']" → ["a", "b"]; a text that is no list is the only item."""
    if isinstance(text, str) and text.startswith("["):
        try:
            text = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            text = [text]
    return [str(item) for item in (text if isinstance(text, list) else [text])]


def _content(source: Source, row: Mapping[str, Any], text: str) -> tuple[str | Medium, ...]:
    content: list[str | Medium] = []
    shown = set()
    pieces = iter(_TAG.split(text))
    content.append(next(pieces))
    for tag, number, behind in zip(pieces, pieces, pieces, strict=True):
        picture = row.get(f"image_{number}")
        if number in shown or picture is None:
            content.append(tag)
        else:
            content.append(source.image(picture, f"{row['id']} image_{number}"))
        shown.add(number)
        content.append(behind)
    return tuple(part for part in content if part)


def aggregate(answers: Sequence[Answered]) -> Metrics:
    """Accuracy, that of questions with options, and of each subject."""
    choices = [each for each in answers if each.choices]
    return by_task(answers) | ({"multiple_choice": percent(choices)} if choices else {})


MMMU = Benchmark(
    name="mmmu",
    title="MMMU (validation)",
    modality="image",
    repositories=("lmms-lab-encoder/MMMU", "lmms-lab/MMMU", "MMMU/MMMU"),
    rows=900,
    files="data/validation-*.parquet, or <subject>/validation-*.parquet",
    read=read,
    aggregate=aggregate,
    compat=Compat(compat.mmmu, aggregate, ("multiple_choice",)),
)
