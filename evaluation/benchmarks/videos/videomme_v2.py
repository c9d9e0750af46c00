"""Video-MME-v2 (arXiv 2604.05015): four questions of eight options a video, scored as a group."""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evaluation.benchmarks.benchmark import Benchmark, Compat
from evaluation.benchmarks.numbers import clusters, percent, total
from evaluation.benchmarks.prompts import choice_question, lettered, lines, options_in
from evaluation.benchmarks.question import Answered, Metrics, Question
from evaluation.benchmarks.source import Source
from evaluation.scoring import compat

_ASK = (
    "Select the best answer to the following multiple-choice question based on the video. Respond "
    "with only the letter (A, B, C, D, E, F, G, or H) of the correct option."
)
_SQUARES = (0.0, 6.25, 25.0, 56.25, 100.0)
# How the questions of a group hang together → what so many right in a row are worth.
_STRUCTURES = {
    "[1,2,3,4]": _SQUARES,
    "[1,[2,3],4]": (0.0, 100 / 12, 400 / 12, 700 / 12, 100.0),
    "[[1,2],3,4]": (0.0, 10.0, 20.0, 50.0, 100.0),
}


def read(source: Source, options: Mapping[str, Any]) -> Iterator[Question]:
    """subtitles "all": what is said goes before the question, where there is a file of it."""
    for row in source.rows("test.parquet", "**/test*.parquet"):
        name = str(row["video_id"])
        given = row["options"]
        choices = options_in(given) if isinstance(given, str) else lettered(given)
        structure = "".join(str(row.get("group_structure") or "").split())
        if row["group_type"] == "logic" and structure not in _STRUCTURES:
            raise source.fail(f"{row['question_id']}: group_structure {structure!r} is not known")
        said = _words(source, name) if options["subtitles"] == "all" else ""
        before = f"This video's subtitles are listed below:\n{said}\n\n" if said else ""
        text = f"{before}Question: {row['question'].strip()}\n{lines(choices)}\n{_ASK}"
        yield choice_question(
            row["question_id"],
            (source.video(f"{name}.mp4"), text),
            choices,
            row["answer"].strip().upper(),
            task=row.get("second_head") or "none",
            cluster=name,
            asks=row["question"].strip(),
            group_type=row["group_type"],
            structure=structure,
            level=str(row.get("level") or "none"),
            place=int(str(row["question_id"]).rpartition("-")[2]),
        )


def _words(source: Source, name: str) -> str:
    records = (json.loads(line) for line in source.text(f"{name}.jsonl").split("\n") if line)
    return " ".join(record["text"] for record in records)


def aggregate(answers: Sequence[Answered]) -> Metrics:
    """group_score: the mean over groups of what their right answers are worth together (0..100), in
    all, by kind of group and by the level of a group's last question. accuracy: over questions.
    Groups of which a question could not be asked are left out: see groups."""
    groups = [sorted(g, key=lambda a: a.facts["place"]) for g in clusters(answers) if len(g) == 4]
    # A group as one answer, under each name that it counts for.
    scores: dict[str, list[Answered]] = {}
    for group in groups:
        last = dataclasses.replace(group[-1], score=_group_score(group) / 100)
        for name in ("", f"_{last.facts['group_type']}", f"_level_{last.facts['level']}"):
            scores.setdefault(f"group_score{name}", []).append(last)
    return {
        **{name: percent(each) for name, each in sorted(scores.items())},
        "accuracy": percent(answers),
        "groups": total([group[-1] for group in groups]),
    }


def _group_score(group: Sequence[Answered]) -> float:
    right = [a.score == 1 for a in group]
    if group[-1].facts["group_type"] != "logic":
        return _SQUARES[sum(right)]
    structure = group[-1].facts["structure"]
    row = next((i for i, r in enumerate(right) if not r), 4)
    # Of two questions that do not build on each other one may be wrong.
    if structure == "[1,[2,3],4]" and row == 1 and right[2]:
        row = 2
    if structure == "[[1,2],3,4]" and row == 0 and right[1]:
        row = 1
    return _STRUCTURES[structure][row]


VIDEO_MME_V2 = Benchmark(
    name="videomme_v2",
    title="Video-MME-v2",
    modality="video",
    repositories=("MME-Benchmarks/Video-MME-v2",),
    rows=3200,
    files="test.parquet, videos/*.zip, subtitle/",
    read=read,
    aggregate=aggregate,
    compat=Compat(compat.videomme_v2, aggregate, ("group_score", "accuracy")),
    options={"subtitles": ("none", "all")},
)
