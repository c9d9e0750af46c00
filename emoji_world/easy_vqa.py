"""The questions of easy-vqa about its own pictures, in its own words and on its own sides, so many
of each answer that words alone do not give it away."""

import dataclasses
import io
import json
import zipfile
from collections import defaultdict
from pathlib import Path

from demo_world.decks import Decks, stream
from demo_world.questions import WORD, YES_NO, Question
from emoji_world.packages import PackageError

_DATA = "easy_vqa/data"
_YES_NO = frozenset({"yes", "no"})
_SHAPES = frozenset({"circle", "rectangle", "triangle"})
_MISSES = 200  # draws in a row that find nothing left


@dataclasses.dataclass(frozen=True)
class Asked:
    """A question about a picture. image: its number in the package. png: its bytes."""

    image: int
    png: bytes
    question: Question


def choose(wheel: Path, split: str, seed: int, count: int) -> list[Asked]:
    """Up to `count` questions of the package's split, "train" or "test".

    Yes or no, a colour and a shape are asked for equally often, and to each exact question its
    answers are equally frequent. Raises PackageError for a file that is no such package.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(wheel.read_bytes())) as archive:
            rows = json.loads(archive.read(f"{_DATA}/{split}/questions.json"))
            return [
                Asked(image, archive.read(f"{_DATA}/{split}/images/{image}.png"), question)
                for image, question in _dealt(rows, split, seed, count)
            ]
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise PackageError(f"{wheel} does not hold easy-vqa: {error}; remove it") from error


def _dealt(
    rows: list[tuple[str, str, int]], split: str, seed: int, count: int
) -> list[tuple[int, Question]]:
    pools: dict[str, dict[str, dict[str, list[int]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    for number in stream(seed, "easy", split).permutation(len(rows)):
        text, answer, image = rows[number]
        pools[_task(answer)][text][answer].append(image)
    found: list[tuple[int, Question]] = []
    decks, misses = Decks(seed, "easy", split), 0
    while len(found) < count and misses < _MISSES:
        task = decks.draw("task", tuple(sorted(pools)))
        text = decks.draw(task, tuple(sorted(pools[task])))
        answers = pools[task][text]
        answer = decks.draw(text, tuple(sorted(answers)))
        if not answers[answer]:
            misses += 1
            continue
        misses = 0
        hint, form = (YES_NO, "yes_no") if task == "easy_exists" else (WORD, "short")
        asked = Question(
            task, form, f"{text.capitalize()}\n{hint}", answer, answer, (), 1 / len(answers)
        )
        found.append((answers[answer].pop(), asked))
    return found


def _task(answer: str) -> str:
    if answer in _YES_NO:
        return "easy_exists"
    return "easy_shape" if answer in _SHAPES else "easy_colour"
