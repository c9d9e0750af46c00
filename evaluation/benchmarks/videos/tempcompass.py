"""TempCompass (arXiv 2403.00476): what changes with time, asked in several formats."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evaluation.benchmarks.benchmark import Benchmark, Compat
from evaluation.benchmarks.numbers import mean, percent, percent_by
from evaluation.benchmarks.prompts import LETTERS, without_options
from evaluation.benchmarks.question import Answered, Metrics, Question
from evaluation.benchmarks.source import Source
from evaluation.scoring import compat

_ASK = {
    "multi-choice": "Please directly give the best option:",
    "yes_no": "Please answer yes or no:",
    "caption_matching": "Please directly give the best option:",
}
# "A. red", "Caption A: …", "Option 1: …", "Sentence B: …"
_OPTION = re.compile(r"((?:[A-Z][a-z]+ )?)([A-Z]|[1-9])([.:]) ?(.+)")


def read(source: Source, options: Mapping[str, Any]) -> Iterator[Question]:
    """Three of the four formats; captions are judged by a language model and left out by name."""
    for format, ask in _ASK.items():
        tables = f"{format}/*.parquet", f"{format.replace('-', '_')}/data.json"
        for number, row in enumerate(source.rows(*tables)):
            choices: dict[str, str] = {}
            label = ""
            question, answer = row["question"].strip(), row["answer"].strip()
            if format == "yes_no":
                answer = answer.strip(".").lower()
            else:
                question, choices, label = _options(question)
                answer = _right(answer, choices)
                if not answer:
                    raise source.fail(f"{format}, row {number}: the answer is no option")
            yield Question(
                id=f"{format}/{number}",
                content=(source.video(row["video_id"]), f"{question}\n{ask}"),
                task=f"{format} {row['dim']}",
                format="choice" if choices else "yes_no",
                answer=answer,
                chance=1 / len(choices) if choices else 0.5,
                # Conflicting clips are made from one source: "17_reverse", "17_concat".
                cluster=row["video_id"].partition("_")[0],
                choices=choices,
                asks=without_options(question),
                facts={"dim": row["dim"], "asked": format, "label": label},
            )
    if source.has("captioning/*.parquet"):
        count = sum(1 for _ in source.rows("captioning/*.parquet"))
        source.leave_out("captioning: needs a judge, which is not part of this evaluation", count)


def _options(question: str) -> tuple[str, dict[str, str], str]:
    """The question with its options lettered, these, and what is before a letter ("Caption ").
    "Option 1: …" becomes "Option A: …": a number could be part of any answer."""
    choices: dict[str, str] = {}
    found, label = [], ""
    for line in question.split("\n"):
        option = _OPTION.fullmatch(line.strip())
        if option:
            letter = LETTERS[len(choices)]
            choices[letter], label = option[4].strip(), option[1]
            line = f"{option[1]}{letter}{option[3]} {option[4]}"
        found.append(line)
    return "\n".join(found), choices, label


def _right(answer: str, choices: Mapping[str, str]) -> str:
    option = _OPTION.fullmatch(answer)
    text = option[4].strip() if option else answer
    same = [letter for letter, choice in choices.items() if choice == text]
    if option and option[2].isalpha() and option[2] in choices:
        return option[2]
    return same[0] if same else ""


def aggregate(answers: Sequence[Answered]) -> Metrics:
    """Accuracy of each format, of each aspect of time, and the mean over the formats asked."""
    formats = percent_by(answers, lambda a: a.facts["asked"])
    return {
        "accuracy": percent(answers),
        "mean_of_formats": mean(list(formats.values())),
        **formats,
        **percent_by(answers, lambda a: a.facts["dim"]),
        **percent_by(answers, lambda a: a.task),
    }


TEMPCOMPASS = Benchmark(
    name="tempcompass",
    title="TempCompass",
    modality="video",
    repositories=("lmms-eval/TempCompass", "lmms-lab/TempCompass", "mm-eval/TempCompass"),
    rows=5536,
    files="multi-choice/*, yes_no/*, caption_matching/*, tempcompass_videos.zip (418 MB)",
    read=read,
    aggregate=aggregate,
    compat=Compat(compat.tempcompass, aggregate, ("multi_choice", "yes_no", "caption_matching")),
)
