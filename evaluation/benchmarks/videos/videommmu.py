"""Video-MMMU (arXiv 2501.13826): what a lecture teaches, seen, understood and applied."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from evaluation.benchmarks.benchmark import Benchmark, Compat
from evaluation.benchmarks.numbers import grouped, percent, percent_by, ratio
from evaluation.benchmarks.prompts import letter_of, lettered, lines
from evaluation.benchmarks.question import Answered, Medium, Metrics, Question
from evaluation.benchmarks.source import Source
from evaluation.scoring import compat

_IGNORE = "\nPlease ignore the Quiz question in last frame of the video."
_APPLY = (
    "You should watch and learn the video content. Then apply what you learned to answer the "
    "following {} question. The image for this question is at the end of the video.\n"
)
_BEFORE = "before"  # Adaptation's questions without the lecture


def read(source: Source, options: Mapping[str, Any]) -> Iterator[Question]:
    """tracks "all": Perception, Comprehension, Adaptation. "knowledge": Adaptation with the lecture
    and with the clip of the question alone.

    The question's picture is the last frame of every clip. image "append": it also follows the clip
    as a picture, since a few frames of a clip may end before it; "last_frame": it does not.
    """
    if options["tracks"] == "all":
        for track in ("Perception", "Comprehension"):
            for row in source.rows(f"{track}/*.parquet"):
                text = f"{row['question'].strip()}\n{lines(lettered(row['options']))}{_IGNORE}"
                yield _question(source, track, row, (source.video(row["id"]), text))
    for row in source.rows("Adaptation/*.parquet"):
        choices = _choices(row)
        asked = f"{row['question'].strip()}\n{lines(choices)}".strip()
        text = _APPLY.format("multi-choice" if choices else "open-ended") + asked
        shown = source.image(row.get("image"), row["id"])
        picture = (shown,) if options["image"] == "append" and shown.path else ()
        yield _question(source, "Adaptation", row, (source.video(row["id"]), *picture, text))
        if options["tracks"] == "knowledge":
            alone = source.video(f"{row['id']}_image")
            yield _question(source, _BEFORE, row, (alone, *picture, asked))


def _choices(row: Mapping[str, Any]) -> dict[str, str]:
    return {} if row.get("question_type") == "open" else lettered(row.get("options") or [])


def _question(
    source: Source, track: str, row: Mapping[str, Any], content: tuple[str | Medium, ...]
) -> Question:
    choices = _choices(row)
    answer = letter_of(row["answer"], choices) if choices else str(row["answer"]).strip()
    if not answer:
        raise source.fail(f"{track} {row['id']}: the answer {row['answer']!r} is no option")
    return Question(
        id=f"{track}/{row['id']}",
        content=content,
        task=track,
        format="choice" if choices else "short",
        answer=answer,
        chance=1 / len(choices) if choices else 0.0,
        cluster=row["id"],
        choices=choices,
        asks=str(row["question"]).strip(),
        facts={"subject": "_".join(row["id"].split("_")[1:-1])},
    )


def aggregate(answers: Sequence[Answered]) -> Metrics:
    """Accuracy of each track and subject. With tracks "knowledge": before and after the lecture,
    and delta_knowledge = (after - before) / (100 - before), in percent; it may be negative."""
    groups = grouped(answers, lambda a: a.task)
    if _BEFORE not in groups:
        subjects = percent_by(answers, lambda a: a.facts["subject"])
        return {
            "accuracy": percent(answers),
            **percent_by(answers, lambda a: a.task),
            **subjects,
        }
    before = percent(groups[_BEFORE])
    found = {"before": before}
    if after := groups.get("Adaptation"):
        found["after"] = percent(after)
        if np.any(before < 100):
            found["delta_knowledge"] = 100 * ratio(found["after"] - before, 100 - before)
    return found


VIDEO_MMMU = Benchmark(
    name="videommmu",
    title="Video-MMMU",
    modality="video",
    repositories=("lmms-eval/VideoMMMU", "lmms-lab/VideoMMMU"),
    rows=900,
    files="{Perception,Comprehension,Adaptation}/*.parquet and the zips of videos (14 GB)",
    read=read,
    aggregate=aggregate,
    compat=Compat(
        compat.videommmu,
        aggregate,
        ("perception", "comprehension", "adaptation", "before", "after"),
    ),
    options={"image": ("append", "last_frame"), "tracks": ("all", "knowledge")},
)
