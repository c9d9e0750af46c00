"""MME (arXiv 2306.13394): 14 tasks of yes/no questions, two about each picture."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evaluation.benchmarks.benchmark import Benchmark, Compat
from evaluation.benchmarks.numbers import all_right, clusters, grouped, percent, plain
from evaluation.benchmarks.prompts import ASK_WORD
from evaluation.benchmarks.question import Answered, Metrics, Question
from evaluation.benchmarks.source import Source
from evaluation.scoring import compat

# fmt: off
PERCEPTION = (
    "existence", "count", "position", "color", "posters", "celebrity", "scene", "landmark",
    "artwork", "OCR",
)
COGNITION = (
    "commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning",
)
# fmt: on


def read(source: Source, options: Mapping[str, Any]) -> Iterator[Question]:
    """Two questions a picture, paired by task and question_id, whatever the order of rows."""
    pairs: Counter[tuple[str, str]] = Counter()
    for row in source.rows("data/test-*.parquet", "*.parquet", "MME.tsv"):
        # VLMEvalKit's table has the picture's path in question_id's place.
        task, picture = row["category"], str(row.get("question_id") or row["image_path"])
        pairs[task, picture] += 1
        text = row["question"].replace("Please answer yes or no.", "").strip()
        yield Question(
            id=f"{task}/{picture}/{pairs[task, picture]}",
            content=(source.image(row["image"], picture), f"{text}\n{ASK_WORD}"),
            task=task,
            format="yes_no",
            answer=row["answer"].strip().lower(),
            chance=0.5,
            cluster=f"{task}/{picture}",
        )
    if odd := [key for key, count in pairs.items() if count != 2]:
        (task, picture), count = odd[0], pairs[odd[0]]
        raise source.fail(
            f"{len(odd)} pictures have not two questions each: {task} {picture} has {count}"
        )


def aggregate(answers: Sequence[Answered]) -> Metrics:
    """Of each task accuracy in percent + the share of pictures with both right (0..200), and the
    sums: perception of 2,000, cognition of 800. A sum is there where all its tasks are."""
    found: Metrics = {}
    for task, group in grouped(answers, lambda a: a.task).items():
        pairs = [pair for pair in clusters(group) if len(pair) == 2]
        found[plain(task)] = percent(group) + (all_right(pairs) if pairs else 0.0)
    sums: Metrics = {}
    for name, tasks in (("perception", PERCEPTION), ("cognition", COGNITION)):
        if all(plain(task) in found for task in tasks):
            sums[name] = sum(found[plain(task)] for task in tasks)
    if len(sums) == 2:
        sums["total"] = sums["perception"] + sums["cognition"]
    return sums | found


MME = Benchmark(
    name="mme",
    title="MME",
    modality="image",
    repositories=("lmms-lab-encoder/MME", "lmms-lab/MME"),
    rows=2374,
    files="data/test-*.parquet (864 MB)",
    read=read,
    aggregate=aggregate,
    compat=Compat(compat.mme, aggregate, ("perception", "cognition")),
)
