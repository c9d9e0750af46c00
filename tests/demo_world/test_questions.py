"""Annotations: what their records carry, and answers that nothing but the media give away."""

import itertools
import json
import math
import re
from collections import Counter, defaultdict
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from configs import demo
from demo_world import clip_questions, image_questions
from demo_world.rendering import draw_clip
from demo_world.scenes import COLOURS
from input_pipeline.frame_budget import BudgetQuery, make_policy
from tests.demo_world.small_world import records, scenes


def test_training_records_are_llava_conversations(world):
    for kind in ("image", "video"):
        for record in records(world, "train", kind):
            turns = record["conversations"]
            assert [turn["from"] for turn in turns] == ["human", "gpt"] * (len(turns) // 2)
            tags = [turn["value"].count(f"<{kind}>") for turn in turns]
            assert tags == [1] + [0] * (len(turns) - 1)
            assert turns[0]["value"].startswith(f"<{kind}>\n")
            assert (world.media_root / record[kind]).is_file()
            questions = [turn["value"] for turn in turns[::2]]
            assert len(set(questions)) == len(questions) <= (4 if kind == "image" else 1)
    clips = Counter(record["video"] for record in records(world, "train", "video"))
    assert set(clips.values()) == {2}


def test_evaluation_records_carry_what_scoring_needs(world):
    for split, kind in itertools.product(("val", "test"), ("image", "video")):
        found = records(world, split, kind)
        assert len({record["id"] for record in found}) == len(found)
        for record in found:
            human, reference = record["conversations"]
            assert reference["value"] == record["answer"]
            assert 0 < record["chance"] <= 0.5
            if record["format"] == "choice":
                listed = re.findall(r"^([A-D])\. (.+)$", human["value"], re.MULTILINE)
                assert dict(listed) == record["choices"]
                assert record["answer"] in record["choices"]
                assert record["chance"] == 1 / len(record["choices"])
            if record["format"] == "yes_no":
                assert record["answer"] in ("yes", "no")
            if record["format"] == "caption":
                assert all(slot in record["answer"] for slot in record["slots"])
            hint = {"choice": "letter.", "yes_no": "Answer yes or no.", "short": "Answer with"}
            assert hint.get(record["format"], "<") in human["value"]


@pytest.mark.parametrize("kind, tasks", [("image", 9), ("video", 10)])
def test_tasks_and_answers_are_balanced(kind, tasks):
    found = [question for _, questions in scenes(kind, "test", 400) for question in questions]
    per_task = Counter(question.task for question in found)
    assert len(per_task) == tasks
    assert max(per_task.values()) - min(per_task.values()) <= 1
    answers = defaultdict(Counter)
    for question in found:
        if question.task != "caption":
            # One task may be asked in two ways with different answers: each is balanced.
            group = (question.task, question.format, question.answer in COLOURS)
            answers[group][question.answer] += 1
    for group, counts in answers.items():
        assert max(counts.values()) - min(counts.values()) <= 3, (group, counts)


def _score(question, prediction):
    if question.slots:
        return sum(slot in prediction for slot in question.slots) / len(question.slots)
    return float(prediction == question.answer)


def _words(question):
    words = re.findall(r"\w+|\S", question.text)
    return set(words) | {f"{place}:{word}" for place, word in enumerate(words)}


def _majority(train, key):
    counts = defaultdict(Counter)
    for question in train:
        counts[key(question)][question.answer] += 1
    best = {name: max(sorted(c), key=c.get) for name, c in counts.items()}
    return lambda question: best.get(key(question), "")


def _naive_bayes(train):
    by_task = defaultdict(lambda: defaultdict(Counter))
    totals = defaultdict(Counter)
    for question in train:
        totals[question.task][question.answer] += 1
        by_task[question.task][question.answer].update(_words(question))

    def predict(question):
        def log_score(answer):
            counts, total = by_task[question.task][answer], totals[question.task][answer]
            likelihood = sum(math.log((counts[w] + 0.5) / (total + 1)) for w in _words(question))
            return math.log(total) + likelihood

        return max(sorted(totals[question.task]), key=log_score)

    return predict


@pytest.mark.parametrize("kind", ["image", "video"])
def test_words_of_a_question_tell_nothing_about_its_answer(kind):
    train = [q for _, questions in scenes(kind, "train", 2000) for q in questions]
    test = [q for _, questions in scenes(kind, "test", 1000) for q in questions]
    predictors = {
        "majority of the task": _majority(train, lambda q: q.task),
        "majority of the question": _majority(train, lambda q: (q.task, q.text)),
        "naive Bayes": _naive_bayes([q for q in train if q.task != "caption"]),
    }
    for name, predict in predictors.items():
        by_task = defaultdict(list)
        for question in test:
            if name == "naive Bayes" and question.task == "caption":
                continue  # as many answers as scenes: there is nothing to learn from words
            by_task[question.task].append((_score(question, predict(question)), question.chance))
        for task, pairs in by_task.items():
            score, chance = np.mean(pairs, axis=0)
            margin = 3 * math.sqrt(chance * (1 - chance) / len(pairs))
            assert score < chance + margin, (name, task, score, chance)


def test_the_stated_chance_of_captions_is_that_of_the_best_fixed_caption():
    captions = {"image": "a small red circle on the left and a large blue square on the right"}
    captions["video"] = "a red circle moves left"
    for kind, fixed in captions.items():
        asked = [q for _, qs in scenes(kind, "test", 3000) for q in qs if q.task == "caption"]
        score = np.mean([_score(question, fixed) for question in asked])
        assert score == pytest.approx(asked[0].chance, abs=0.03)


def test_what_a_base_is_judged_by_lies_apart(world):
    for split, kind in itertools.product(("val", "test"), ("image", "video")):
        judged = {"image": image_questions.JUDGED, "video": clip_questions.JUDGED}[kind]
        files = [world.annotations(split, kind, part) for part in ("", "other")]
        known, other = (
            {json.loads(line)["task"] for line in path.read_text().splitlines()} for path in files
        )
        assert known == set(judged) and other and not other & known
    with pytest.raises(ValueError, match="part 'all'"):
        world.annotations("test", "image", "all")


def test_a_base_sees_a_fifth_of_the_clips_and_the_tasks_it_is_judged_by(world):
    trained = records(world, "train", "video")
    seen = json.loads(world.annotations("train", "video", "base").read_text())
    assert all(record in trained for record in seen)
    assert {record["task"] for record in seen} <= set(clip_questions.JUDGED)
    clips = len({record["video"] for record in trained})
    assert len({record["video"] for record in seen}) <= clips / 5
    shown = [q for _, questions in scenes("video", "train", 2500)[::5] for q in questions]
    share = sum(q.task in clip_questions.JUDGED for q in shown) / (4000 + len(shown))
    assert 0.1 < share < 0.15  # of the base's training examples, as docs/study.md says


def test_the_number_of_frames_tells_nothing_about_the_answer():
    """Under the hybrid rule of the demo: which kind of question, yes; which answer, no."""
    policy = make_policy(demo.get_config("frames=hybrid").frames.to_dict(), frames_at_a_time=2)

    def budgeted(split, count):
        for number, (scene, questions) in enumerate(scenes("video", split, count)):
            media = SimpleNamespace(
                kind="video", frames=scene.frames, duration_s=scene.frames / scene.fps
            )
            preview = _preview_of(list(draw_clip(scene)))
            for question in questions:
                if question.task != "caption":
                    query = BudgetQuery(f"{split}{number}", question.text, media, preview)
                    yield policy(query).frames, question

    counts = defaultdict(Counter)
    for frames, question in budgeted("train", 400):
        counts[question.task, frames][question.answer] += 1
    best = {key: max(sorted(c), key=c.get) for key, c in counts.items()}
    asked = list(budgeted("test", 400))
    right = np.mean([best.get((q.task, frames), "") == q.answer for frames, q in asked])
    chance = np.mean([q.chance for _, q in asked])
    assert right < chance + 3 * math.sqrt(chance * (1 - chance) / len(asked))
    assert len({frames for frames, _ in asked}) == 4


def _preview_of(frames):
    def preview(count, side=64):
        chosen = [frames[i] for i in np.linspace(0, len(frames) - 1, count).round().astype(int)]
        return np.stack([cv2.resize(frame, (side, side)) for frame in chosen])

    return preview
