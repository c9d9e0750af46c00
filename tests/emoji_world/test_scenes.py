"""What is asked has one answer, and neither the words nor the length of a clip give it away."""

import pytest

from demo_world.clip_scenes import full_view_gap
from emoji_world.cast import KIND_OF, KINDS, Cast
from emoji_world.drawing import source_frame
from emoji_world.generate import iter_scenes
from emoji_world.guessing import guessed
from emoji_world.questions import _place
from emoji_world.scenes import CLIP_FAMILIES, Part

MOVING = ("animal", "face", "hand", "heart", "vehicle")


def _everyone():
    codes = {kind: tuple(c for c, k in KIND_OF.items() if k == kind) for kind in KINDS}
    movers = {kind: codes[kind] for kind in MOVING}
    return Cast(codes, movers, tuple(c for kind in MOVING for c in codes[kind]))


CAST = _everyone()


@pytest.fixture(scope="module")
def scenes():
    return {
        (kind, split): list(iter_scenes(kind, split, 0, 1600, CAST))
        for kind in ("image", "video")
        for split in ("train", "test")
    }


def _records(found, words):
    return [
        {
            "task": question.task,
            "answer": question.answer,
            "conversations": [{"value": words(scene, question)}, {"value": question.answer}],
            "chance": question.chance,
        }
        for scene, questions in found
        for question in questions
    ]


@pytest.mark.parametrize("kind", ["image", "video"])
@pytest.mark.parametrize(
    "words",
    [lambda scene, question: question.text, lambda scene, question: str(scene.frames)],
    ids=["words", "length"],
)
def test_neither_words_nor_length_tell_the_answer(scenes, kind, words):
    train, test = (_records(scenes[kind, split], words) for split in ("train", "test"))
    chance = {record["task"]: record["chance"] for record in test}
    for task, share in guessed(train, test).items():
        assert share <= chance[task] + 0.08, task


def test_no_character_of_training_is_asked_about(scenes):
    on = {
        split: {
            part.code
            for kind in ("image", "video")
            for s, _ in scenes[kind, split]
            for part in s.parts
        }
        for split in ("train", "test")
    }
    assert not on["train"] & on["test"]
    assert len(on["test"]) > 50 and len(on["train"]) > 200


def test_names_offered_are_of_the_side_and_the_kind(scenes):
    from emoji_world.cast import name_of

    for split in ("train", "test"):
        names = {name_of(c): k for k, codes in CAST.split(split).stills.items() for c in codes}
        for scene, questions in scenes["video", split]:
            for question in questions:
                if question.task == "name":
                    assert question.choices[question.answer] == name_of(scene.parts[0].code)
                    kinds = {names[option] for option in question.choices.values()}
                    assert kinds == {KIND_OF[scene.parts[0].code]}


def test_every_scene_shows_what_its_answer_says(scenes):
    families = set()
    for scene, (question, *_) in scenes["video", "test"]:
        families.add(scene.family)
        assert question.truth == scene.truth
        gap, kinds = full_view_gap(scene.frames), [KIND_OF[p.code] for p in scene.parts]
        spans = [part.frames for part in scene.parts]
        assert all(end - begin >= gap for begin, end in spans), "sixteen frames see all of it"
        if scene.family in ("order", "count", "same"):
            assert [0, *(end for _, end in spans)] == [*(b for b, _ in spans), scene.frames]
        if scene.family == "order":
            assert kinds[1] == scene.truth and len(set(kinds)) == 3
        elif scene.family == "count":
            assert len({part.code for part in scene.parts}) == int(scene.truth) == len(kinds)
        elif scene.family == "same":
            one, other = scene.parts
            assert (one.code == other.code) is (scene.truth == "yes") and len(set(kinds)) == 1
        elif scene.family == "brief":
            (_, event), (begin, end) = kinds, spans[1]
            assert event == scene.truth and begin > 0 and end < scene.frames
        elif scene.family == "moves":
            shown = {source_frame(scene.parts[0], n) for n in range(scene.frames)}
            assert (len(shown) > 1) is (scene.truth == "yes")
        elif scene.family == "speed":
            at = [source_frame(scene.parts[0], n) for n in (0, scene.frames // 2, scene.frames)]
            assert (at[1] - at[0] > at[2] - at[1]) is (scene.truth == "first")
    assert families == set(CLIP_FAMILIES)


def test_what_training_asks_more_is_right_and_not_told_before(scenes):
    asked = 0
    for scene, (own, *more) in scenes["image", "train"]:
        for question in more:
            if question.task != "kind_there":
                continue
            asked += 1
            place = question.text.split(" is ")[1].split("?")[0]
            on = {_place(part.start): KIND_OF[part.code] for part in scene.parts}
            assert on[place] == question.truth and len(on) == len(scene.parts)
            assert scene.family != "pair" or own.truth not in place, "its kind is told by then"
    assert asked > 1000
    assert not [q for _, found in scenes["image", "test"] for q in found if q.task == "kind_there"]


def test_a_clip_of_two_speeds_is_played_on_from_where_it_was():
    part = Part(0, 1.0, (0, 0), (0, 0), (0, 10), ((0, 2.0), (4, 1.0)), phase=0.5)
    assert [source_frame(part, n) for n in (0, 1, 4, 5, 10)] == [6, 8, 14, 15, 20]


def test_the_same_seed_gives_the_same_scenes_and_a_shorter_split_begins_them(scenes):
    assert list(iter_scenes("video", "test", 0, 30, CAST)) == scenes["video", "test"][:30]
    assert list(iter_scenes("video", "test", 1, 30, CAST)) != scenes["video", "test"][:30]
