"""EgoSchema (arXiv 2308.09126): three minutes through someone's eyes. The 500 with answers."""

from collections.abc import Iterator, Mapping
from typing import Any

from evaluation.benchmarks.benchmark import Benchmark, Compat
from evaluation.benchmarks.numbers import by_task
from evaluation.benchmarks.prompts import (
    ASK_LETTER,
    choice_question,
    letter_of,
    lettered,
    lines,
)
from evaluation.benchmarks.question import Question
from evaluation.benchmarks.source import Source
from evaluation.scoring import compat


def read(source: Source, options: Mapping[str, Any]) -> Iterator[Question]:
    """Config "Subset". The answers to the full set of 5,031 are with its publisher."""
    for row in source.rows("Subset/test-*.parquet"):
        choices = lettered(row["option"])
        answer = letter_of(int(row["answer"]), choices)
        if not answer:
            raise source.fail(f"{row['video_idx']}: there is no option {row['answer']!r}")
        text = f"{row['question'].strip()}\n{lines(choices)}\n{ASK_LETTER}"
        yield choice_question(
            row["video_idx"],  # one question a video
            (source.video(row["video_idx"]), text),
            choices,
            answer,
            task="subset",
            cluster=row["video_idx"],
            asks=row["question"].strip(),
        )


EGOSCHEMA = Benchmark(
    name="egoschema",
    title="EgoSchema (subset)",
    modality="video",
    repositories=("lmms-eval/egoschema", "lmms-lab/egoschema"),
    rows=500,
    files="Subset/test-*.parquet and videos_chunked_*.zip",
    read=read,
    aggregate=by_task,
    compat=Compat(compat.egoschema, by_task, ("accuracy",)),
)
