"""Text alone: answers can be read, splits share no picture, and pictures do not depend on it."""

import json
import re
from collections import Counter

import pytest

from demo_world import generate_world
from demo_world.told import text_records
from tests.demo_world.small_world import TEXTS, TINY

THING = re.compile(
    r"a (small |large |)(\w+) (\w+)(?: on the (left|right)| at the (top|bottom)|)(?=[,.]| and )"
)


def _read(sentence, question):
    """The answer, by someone who takes the words as they stand. Things: (size, colour, shape,
    side)."""
    things = [(m[1], m[2], m[3], m[4] or m[5]) for m in THING.finditer(sentence)]
    digits = [thing for thing in things if thing[2].isdigit()]
    if "digit" in question and "side" not in question and not question.startswith("Where"):
        return digits[0][2]
    if "How many" in question:
        return str(len(things))
    if "small" in question:
        return next(colour for size, colour, *_ in things if size == "small ")
    if found := re.search(r"(?:Where|On which side) is the (?:(\w+) )?(\w+)\?", question):
        colour, name = found.groups()
        named = digits if name == "digit" else [t for t in things if t[1:3] == (colour, name)]
        return named[0][3]
    (shape,) = re.search(r"colour is the (\w+)\?", question).groups()
    return next(thing[1] for thing in things if thing[2] == shape)


def test_answers_follow_from_the_words():
    records, _ = text_records("test", 0, 200)
    tasks = Counter(record["task"] for record in records)
    assert set(tasks) == {"colour", "position", "count", "small_colour"}
    assert max(tasks.values()) <= 1.3 * min(tasks.values())
    for record in records:
        human, reference = record["conversations"]
        sentence, question, _ = human["value"].split("\n")
        assert _read(sentence, question) == reference["value"] == record["answer"], human["value"]
    assert len({record["id"] for record in records}) == len(records)


def test_chance_is_what_the_best_constant_answer_gets():
    records, _ = text_records("test", 0, 200)
    for task in ("colour", "count"):
        mine = [record for record in records if record["task"] == task]
        ((_, most),) = Counter(record["answer"] for record in mine).most_common(1)
        assert [record["chance"] for record in mine] == pytest.approx(
            [most / len(mine)] * len(mine)
        )
        assert most / len(mine) < 0.4


def test_no_picture_is_told_in_two_splits():
    told = {}
    for split in ("train", "val", "test"):
        records, held = text_records(split, 0, 100)
        texts = [turn["value"] for record in records for turn in record["conversations"]]
        texts += [each["text"] for each in held]
        found = re.findall(r"(?:The image shows|There is|You see) ([^.?]+)\.", "\n".join(texts))
        told[split] = set(found)
    assert min(map(len, told.values())) > 50
    assert not told["train"] & told["test"] and not told["train"] & told["val"]
    assert not told["val"] & told["test"]


def test_training_has_questions_and_texts_to_write():
    records, held = text_records("train", 0, 80)
    assert not held
    written = [r for r in records if r["conversations"][0]["value"] == "Describe some images."]
    assert len(written) == 20
    assert all(r["conversations"][1]["value"].count(".") == 4 for r in written)


def test_pictures_and_clips_do_not_depend_on_texts(tmp_path):
    few, none = (
        generate_world(tmp_path / name, **(TINY | texts))
        for name, texts in (("few", {}), ("none", dict.fromkeys(TEXTS, 0)))
    )
    for kind in ("image", "video"):
        for split in ("train", "val", "test"):
            one, other = (world.annotations(split, kind).read_bytes() for world in (few, none))
            assert one == other
    one, other = ((world.tokenizer / "tokenizer.json").read_bytes() for world in (few, none))
    assert one == other
    assert few.held_texts("test").read_text() == ""
    assert json.loads(few.annotations("train", "text").read_text())
