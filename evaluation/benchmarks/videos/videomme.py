"""Video-MME (arXiv 2405.21075): 900 videos of three lengths, three questions each."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evaluation.benchmarks.benchmark import Benchmark, Compat
from evaluation.benchmarks.numbers import by_task, percent_by, total
from evaluation.benchmarks.prompts import choice_question, lettered
from evaluation.benchmarks.prompts import lines as options_as_lines
from evaluation.benchmarks.question import Answered, Metrics, Question
from evaluation.benchmarks.source import Source
from evaluation.benchmarks.srt import (
    INTRODUCED,
    MOMENTS,
    NOTHING,
    Line,
    listed,
    read_srt,
    said_evenly,
)
from evaluation.scoring import compat

_ASK = (
    "Select the best answer to the following multiple-choice question based on the video{}. "
    "Respond with only the letter (A, B, C, or D) of the correct option."
)


def read(source: Source, options: Mapping[str, Any]) -> Iterator[Question]:
    """Fewer than 900 videos have subtitles; to the others' questions nothing is added."""
    wanted = options["subtitles"]
    for row in source.rows("videomme/test-*.parquet", "**/test-*.parquet"):
        name = row["videoID"]
        lines = read_srt(source.text(f"{name}.srt")) if wanted != "none" else []
        said = _said(lines, wanted)
        choices = lettered(row["options"])
        text = [_ASK.format(" and the subtitles" if said else "")]
        if said:
            text.insert(0, f"{INTRODUCED}{said}")
        text += [row["question"].strip(), options_as_lines(choices), "The best answer is:"]
        shown = {"subtitles": source.media.text(f"{name}.srt")} if wanted == "shown" else {}
        yield choice_question(
            row["question_id"],
            (source.video(name), "\n".join(text)),
            choices,
            row["answer"].strip(),
            task=row["task_type"],
            cluster=name,
            asks=row["question"].strip(),
            length=row["duration"],
            domain=row["domain"],
            sub_category=row["sub_category"],
            has_subtitles=bool(said),
            **(shown if said else {}),
        )


def _said(lines: Sequence[Line], wanted: str) -> str:
    """What of a video's subtitles stands in its questions: nothing, all, or what is said at so many
    moments. Those of frames, which are not known yet, take the place of what is said at some."""
    if wanted == "shown":
        return (said_evenly(lines, MOMENTS) or NOTHING) if lines else ""
    return listed(lines) if wanted == "all" else said_evenly(lines, int(wanted)) if lines else ""


def aggregate(answers: Sequence[Answered]) -> Metrics:
    """Accuracy, and by length, domain and task; how many questions had subtitles."""
    return {
        **by_task(answers),
        **percent_by(answers, lambda a: a.facts["length"]),
        **percent_by(answers, lambda a: a.facts["domain"]),
        "questions_with_subtitles": total(answers, lambda a: a.facts["has_subtitles"]),
    }


VIDEO_MME = Benchmark(
    name="videomme",
    title="Video-MME",
    modality="video",
    repositories=("lmms-eval/Video-MME", "lmms-lab/Video-MME"),
    rows=2700,
    files="videomme/test-*.parquet, videos_chunked_01.zip … 20.zip (100 GB), subtitle.zip",
    read=read,
    aggregate=aggregate,
    compat=Compat(compat.four_letters, aggregate, ("accuracy", "short", "medium", "long")),
    options={"subtitles": ("none", "shown", "all", "8", "16", "32", "64", "128")},
)
