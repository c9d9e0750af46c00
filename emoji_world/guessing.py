"""What is answered right without looking: the most frequent answer to the same words."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

Record = Mapping[str, Any]


def guessed(train: Sequence[Record], test: Sequence[Record]) -> dict[str, float]:
    """Task → share of its test questions that text alone gets right.

    The guess is the answer that training gives most often to the same question, word for word, and
    where it was never asked, most often to its task. Records as in the annotation files.
    """
    of_text: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    of_task: dict[str, Counter[str]] = defaultdict(Counter)
    for record in train:
        turns = record["conversations"]
        tasks = record["tasks"] if "tasks" in record else [record["task"]]
        for task, asked, answer in zip(tasks, turns[::2], turns[1::2], strict=True):
            of_text[task, _words(asked["value"])][answer["value"]] += 1
            of_task[task][answer["value"]] += 1
    right: dict[str, list[bool]] = defaultdict(list)
    for record in test:
        task, words = record["task"], _words(record["conversations"][0]["value"])
        counts = of_text.get((task, words)) or of_task.get(task) or Counter({"": 1})
        right[task].append(counts.most_common(1)[0][0] == record["answer"])
    return {task: sum(hits) / len(hits) for task, hits in sorted(right.items())}


def _words(text: str) -> str:
    return text.removeprefix("<image>\n").removeprefix("<video>\n")
