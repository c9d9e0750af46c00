"""LongVideoBench (arXiv 2407.15754), validation: referring to moments of up to an hour."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evaluation.benchmarks.benchmark import Benchmark, Compat
from evaluation.benchmarks.numbers import by_task, percent_by
from evaluation.benchmarks.prompts import ASK_LETTER, choice_question, lettered, lines
from evaluation.benchmarks.question import Answered, Metrics, Question
from evaluation.benchmarks.source import Source
from evaluation.scoring import compat


def read(source: Source, options: Mapping[str, Any]) -> Iterator[Question]:
    """From lvb_val.json, whose candidates are a list, or the table, with option0 … option4 and
    "N/A" for none. The videos may stay in the parts of their tar."""
    for row in source.rows("lvb_val.json", "**/validation-*.parquet"):
        candidates = row.get("candidates") or [row.get(f"option{i}") for i in range(5)]
        choices = lettered([text for text in candidates if text not in (None, "", "N/A")])
        said = _lines(source, row) if options["subtitles"] == "all" else ""
        text = f"{row['question'].strip()}\n{lines(choices)}\n{ASK_LETTER}"
        yield choice_question(
            str(row["id"]),
            (source.video(row["video_path"]), f"{said}{text}"),
            choices,
            list(choices)[int(row["correct_choice"])],
            task=row["question_category"],
            cluster=row["video_path"],
            asks=row["question"].strip(),
            seconds=str(row["duration_group"]),
        )


def _lines(source: Source, row: Mapping[str, Any]) -> str:
    """What is said in the video, with a line of its own before and behind."""
    text = source.text(str(row["subtitle_path"]).rpartition("/")[2])
    records = json.loads(text) if text else []
    spoken = [str(r.get("line") or r.get("text") or "").strip() for r in records]
    said = "\n".join(line for line in spoken if line)
    return f"Subtitles of the video:\n{said}\n\n" if said else ""


def aggregate(answers: Sequence[Answered]) -> Metrics:
    """Accuracy, by kind of question and by length of the video: up to 15, 60, 600, 3600 s."""
    lengths = percent_by(answers, lambda a: a.facts["seconds"])
    return {**by_task(answers), **{f"seconds_{name}": value for name, value in lengths.items()}}


LONG_VIDEO_BENCH = Benchmark(
    name="longvideobench",
    title="LongVideoBench",
    modality="video",
    repositories=("longvideobench/LongVideoBench",),
    rows=1337,
    files="lvb_val.json, videos.tar.part.* (162 GB), subtitles.tar (its terms must be agreed to)",
    read=read,
    aggregate=aggregate,
    compat=Compat(compat.longvideobench, aggregate, ("accuracy",)),
    options={"subtitles": ("none", "all")},
)
