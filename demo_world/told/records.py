"""Records of text alone."""

import itertools
import zlib
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from demo_world import image_questions
from demo_world.decks import Decks, stream
from demo_world.image_scenes import sample_image
from demo_world.questions import Question

_FORMS = ("The image shows {}.", "There is {}.", "You see {}.")
_WRITE = "Describe some images."
_SENTENCES = 12  # of a held text; of one that is trained on a third
_TOLD_A_HELD_TEXT = 5  # so many pictures that are asked about go with one held text
_WRITTEN = 4  # one of so many training records is writing, the others are questions


class _Told(NamedTuple):
    """sentence: a picture in words. questions: about it."""

    sentence: str
    questions: list[Question]


def text_records(
    split: str, seed: int, count: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Records in LLaVA's format about `count` pictures of a split, and its held texts.

    Of training every picture is a conversation, but for every fourth, which is a text to write, and
    nothing is held; of evaluation every question is a record.
    """
    told = _pictures(split, seed)
    if split == "train":
        return [_in_training(told, number) for number in range(count)], []
    records = [
        {
            "id": f"{split}-text-{number:05d}-{letter}",
            "conversations": question.turns(f"{picture.sentence}\n"),
            "cluster": f"{split}-text-{number:05d}",
            **question.scoring(),
        }
        for number, picture in enumerate(itertools.islice(told, count))
        for letter, question in zip("abcd", picture.questions, strict=False)
    ]
    held = [
        {"id": f"{split}-held-{number:05d}", "text": _prose(told, _SENTENCES)}
        for number in range(count // _TOLD_A_HELD_TEXT)
    ]
    return _with_chances(records), held


def _pictures(split: str, seed: int) -> Iterator[_Told]:
    """Without end. Their streams are their own, so pictures and clips do not depend on them; what a
    picture is in words belongs to one split alone."""
    decks = Decks(seed, "text", split)
    for number in itertools.count():
        rng = stream(seed, "text", split, number)
        scene = sample_image(rng, decks)
        words, _ = image_questions.in_words(scene)
        if _split_of(words) == split:
            questions = image_questions.told_questions(scene, split, rng, decks)
            yield _Told(str(rng.choice(_FORMS)).format(words), questions)


def _split_of(words: str) -> str:
    """Three fifths are for training."""
    return ("train", "train", "train", "val", "test")[zlib.crc32(words.encode()) % 5]


def _in_training(told: Iterator[_Told], number: int) -> dict[str, Any]:
    name = f"train-text-{number:05d}"
    if number % _WRITTEN == 0:
        text = _prose(told, _SENTENCES // 3)
        turns = [{"from": "human", "value": _WRITE}, {"from": "gpt", "value": text}]
        return {"id": name, "conversations": turns}
    picture = next(told)
    first, *others = picture.questions
    turns = first.turns(f"{picture.sentence}\n")
    return {"id": name, "conversations": turns + [t for each in others for t in each.turns()]}


def _prose(told: Iterator[_Told], sentences: int) -> str:
    return " ".join(picture.sentence for picture in itertools.islice(told, sentences))


def _with_chances(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """With what the most frequent answer to each task gets: since pictures of other splits are left
    out, answers are not quite balanced."""
    of_task = Counter(record["task"] for record in records)
    most: dict[str, int] = {}
    for (task, _), count in Counter((each["task"], each["answer"]) for each in records).items():
        most[task] = max(count, most.get(task, 0))
    return [each | {"chance": most[each["task"]] / of_task[each["task"]]} for each in records]
