"""MMBench (arXiv 2307.06281): every question with its options in every rotation."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evaluation.benchmarks.benchmark import Benchmark, Compat
from evaluation.benchmarks.numbers import all_right, clusters, percent, percent_by
from evaluation.benchmarks.prompts import ASK_LETTER, LETTERS, choice_question, lines
from evaluation.benchmarks.question import Answered, Metrics, Question
from evaluation.benchmarks.source import Source
from evaluation.scoring import compat

_ROTATION = 1_000_000  # is added to the index for each rotation of a question's options
_TABLES = {
    "en": ("en/dev-*.parquet", "MMBench_DEV_EN.tsv"),
    "cn": ("cn/dev-*.parquet", "MMBench_DEV_CN.tsv"),
    "cc": ("cc/test-*.parquet", "CCBench.tsv"),
}


def read(source: Source, options: Mapping[str, Any]) -> Iterator[Question]:
    """The set with answers: "dev", of "cc" "test". index is text in one config, a number in others;
    an option or hint that is missing is the word "nan"."""
    for row in source.rows(*_TABLES[options["language"]]):
        choices = {letter: t for letter in LETTERS[:5] if (t := _text(row.get(letter)))}
        answer = _text(row.get("answer"))
        if answer not in choices:
            raise source.fail(
                f"question {row['index']} has the answer {answer!r} and the options {choices}; "
                "sets without answers are scored by their publisher alone"
            )
        index = int(row["index"])
        text = [_text(row.get("hint")), _text(row["question"]), lines(choices), ASK_LETTER]
        yield choice_question(
            str(index),
            (source.image(row["image"], str(index)), "\n".join(filter(None, text))),
            choices,
            answer,
            task=row["category"],
            cluster=str(index % _ROTATION),
            plain=index < _ROTATION,
            l2_category=row.get("L2-category") or "",
        )


def _text(value: Any) -> str:
    text = "" if value is None else str(value).strip()
    return "" if text.lower() == "nan" else text


def aggregate(answers: Sequence[Answered]) -> Metrics:
    """circular: questions that are right in all their rotations, which is the official number.
    plain: questions as they were written, without rotations. all_rows: every rotation by itself.
    """
    unrotated = [a for a in answers if a.facts["plain"]]
    return {
        "circular": all_right(clusters(answers)),
        **({"plain": percent(unrotated)} if unrotated else {}),
        "all_rows": percent(answers),
        **percent_by(answers, lambda a: a.task),
    }


MMBENCH = Benchmark(
    name="mmbench",
    title="MMBench",
    modality="image",
    repositories=("lmms-lab-encoder/MMBench", "lmms-lab/MMBench"),
    rows=4329,
    files="en/dev-*.parquet (cn/dev-*, cc/test-* for the other languages)",
    read=read,
    aggregate=aggregate,
    compat=Compat(compat.mmbench, aggregate, ("circular",)),
    options={"language": ("en", "cn", "cc")},
)
