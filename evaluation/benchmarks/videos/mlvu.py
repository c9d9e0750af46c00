"""MLVU (arXiv 2406.04264): long videos, seven tasks with options."""

from collections.abc import Iterator, Mapping
from typing import Any

from evaluation.benchmarks.benchmark import Benchmark, Compat
from evaluation.benchmarks.numbers import mean_over_tasks
from evaluation.benchmarks.prompts import (
    choice_question,
    letter_of,
    lettered,
    lines,
    options_in,
    without_options,
)
from evaluation.benchmarks.question import Question
from evaluation.benchmarks.source import Source
from evaluation.scoring import compat

_ASK = "Only give the best option."
_CHOICES = (
    "1_plotQA",
    "2_needle",
    "3_ego",
    "4_count",
    "5_order",
    "6_anomaly_reco",
    "7_topic_reasoning",
)
_WRITTEN = ("8_sub_scene", "9_summary")


def read(source: Source, options: Mapping[str, Any]) -> Iterator[Question]:
    """From the publisher's json/, with options apart, or the tables of `sy1998/MLVU_dev`, with
    options in the question."""
    if not source.has("**/json/1_plotQA.json"):
        for number, row in enumerate(source.rows("**/test-*.parquet", "*.parquet")):
            question = row["question"].strip()
            choices = options_in(question)
            yield _question(source, number, row["task_type"], row["video_name"], question, choices,
                            row["answer"])  # fmt: skip
        return
    for task in _CHOICES:
        for number, row in enumerate(source.rows(f"**/json/{task}.json")):
            choices = lettered(row["candidates"])
            question = f"{row['question'].strip()}\n{lines(choices, '({}) {}')}"
            yield _question(source, number, task, row["video"], question, choices, row["answer"])
    for task in _WRITTEN:
        if source.has(f"**/json/{task}.json"):
            count = sum(1 for _ in source.rows(f"**/json/{task}.json"))
            source.leave_out(f"{task}: needs a judge, which is not part of this evaluation", count)


def _question(
    source: Source,
    number: int,
    task: str,
    video: str,
    question: str,
    choices: dict[str, str],
    right: str,
) -> Question:
    answer = letter_of(right, choices)
    if not answer:
        raise source.fail(f"{task}, record {number}: {right!r} is none of {choices}")
    return choice_question(
        f"{task}/{number}",
        (source.video(video), f"{question}\n{_ASK}"),
        choices,
        answer,
        task=task.lstrip("0123456789_"),
        cluster=video,
        asks=without_options(question),
    )


MLVU = Benchmark(
    name="mlvu",
    title="MLVU (dev)",
    modality="video",
    repositories=("MLVU/MVLU", "sy1998/MLVU_dev"),
    rows=2174,
    files="MLVU/json/*.json and MLVU/video/ (its terms must be agreed to on the hub)",
    read=read,
    aggregate=mean_over_tasks,
    compat=Compat(compat.four_letters, mean_over_tasks, ("mean_over_tasks",)),
)
