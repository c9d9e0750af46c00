"""Video-MME (arXiv 2405.21075): 900 videos of three lengths, three questions each."""

import html
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evaluation.benchmarks.benchmark import Benchmark, Compat
from evaluation.benchmarks.numbers import by_task, percent_by, total
from evaluation.benchmarks.prompts import choice_question, lettered, lines
from evaluation.benchmarks.question import Answered, Metrics, Question
from evaluation.benchmarks.source import Source
from evaluation.scoring import compat

_ASK = (
    "Select the best answer to the following multiple-choice question based on the video{}. "
    "Respond with only the letter (A, B, C, or D) of the correct option."
)
_SPOKEN = re.compile(
    r"(\d+):(\d\d):(\d\d)[,.](\d+)\s*-->\s*(\d+):(\d\d):(\d\d)[,.](\d+)[^\n]*\n(.*?)(?=\n\s*\n|\Z)",
    re.DOTALL,
)


def read(source: Source, options: Mapping[str, Any]) -> Iterator[Question]:
    """Fewer than 900 videos have subtitles; to the others' questions nothing is added."""
    wanted = options["subtitles"]
    for row in source.rows("videomme/test-*.parquet", "**/test-*.parquet"):
        name = row["videoID"]
        said = _subtitles(source, name, wanted) if wanted != "none" else ""
        choices = lettered(row["options"])
        text = [_ASK.format(" and the subtitles" if said else "")]
        if said:
            text.insert(0, f"This video's subtitles are listed below:\n{said}")
        text += [row["question"].strip(), lines(choices), "The best answer is:"]
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
        )


def _subtitles(source: Source, name: str, wanted: str) -> str:
    """What is said in a video: all of it, or the lines at so many evenly spaced moments from its
    beginning to its last line. One line each, repeated ones once; "" without a file."""
    text = source.text(f"{name}.srt")
    spoken = [
        (_seconds(*found[:4]), _seconds(*found[4:8]), _words(found[8]))
        for found in _SPOKEN.findall(text.replace("\r\n", "\n").lstrip("\ufeff"))
    ]
    if wanted != "all" and spoken:
        last, count = spoken[-1][1], int(wanted)
        moments = [last * (i + 0.5) / count for i in range(count)]
        spoken = [s for s in spoken if any(s[0] <= moment <= s[1] for moment in moments)]
    return "\n".join(dict.fromkeys(words for _, _, words in spoken if words))


def _seconds(hours: str, minutes: str, seconds: str, fraction: str) -> float:
    return 3600 * int(hours) + 60 * int(minutes) + float(f"{seconds}.{fraction}")


def _words(text: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]*>", "", text)).split())


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
    options={"subtitles": ("none", "all", "8", "16", "32", "64", "128")},
)
