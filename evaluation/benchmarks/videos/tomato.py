"""TOMATO (arXiv 2410.23266): movement that one frame, or frames in any order, do not show."""

from collections.abc import Iterator, Mapping
from typing import Any

from evaluation.benchmarks.benchmark import Benchmark, Compat
from evaluation.benchmarks.numbers import by_task
from evaluation.benchmarks.prompts import choice_question, letter_of, lettered
from evaluation.benchmarks.question import Question
from evaluation.benchmarks.source import Source
from evaluation.scoring import compat

_ASK = """You will be provided with frames uniformly sampled from a video, the frames are provided \
in chronological order of the video. Analyze these frames and provide the answer to the question \
about the video content. Answer the multiple-choice question about the video content.

You must use these frames to answer the multiple-choice question; do not rely on any external \
knowledge or commonsense.

<question>
{}
</question>

<options>
{}
</options>

Even if the information in these separate frames is not enough to answer the question, PLEASE TRY \
YOUR BEST TO GUESS AN ANSWER WHICH YOU THINK WOULD BE THE MOST POSSIBLE ONE BASED ON THE QUESTION.

DO NOT GENERATE ANSWER SUCH AS 'NOT POSSIBLE TO DETERMINE.'"""


def read(source: Source, options: Mapping[str, Any]) -> Iterator[Question]:
    """The answer is the place of an option, from 0."""
    for number, row in enumerate(source.rows("**/test-*.parquet", "*.parquet")):
        choices = lettered(row["options"])
        answer = letter_of(int(row["answer"]), choices)
        if not answer:
            raise source.fail(f"row {number}: there is no option {row['answer']} of {choices}")
        yield choice_question(
            str(number),
            (source.video(row["video_path"]), _ASK.format(row["question"].strip(), choices)),
            choices,
            answer,
            task=row["reason_type"],
            cluster=row["video_path"],
            asks=row["question"].strip(),
        )


TOMATO = Benchmark(
    name="tomato",
    title="TOMATO",
    modality="video",
    repositories=("lmms-eval/TOMATO", "lmms-lab/TOMATO"),
    rows=1484,
    files="data/test-*.parquet and its zips of videos",
    read=read,
    aggregate=by_task,
    compat=Compat(compat.tomato, by_task, ("accuracy",)),
)
