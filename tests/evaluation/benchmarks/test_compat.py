"""What lmms-eval would print stands beside the strict numbers."""

import dataclasses
import math

import pytest

from evaluation.benchmarks import BENCHMARKS
from tests.evaluation.benchmarks.official_files import WRITERS
from tests.evaluation.benchmarks.reading import answered, read, right

OTHERS = [name for name, each in BENCHMARKS.items() if each.compat]  # lmms-eval asks them too
OF_UNREAD = {"mmmu", "nextqa", "egoschema", "longvideobench"}  # they guess at random


def _both(name, answers):
    benchmark = BENCHMARKS[name]
    rescored = benchmark.compat.rescored(answers)
    return benchmark.aggregate(answers), benchmark.compat.metrics(rescored) if rescored else {}


@pytest.mark.parametrize("name", OTHERS)
def test_right_answers_are_right_for_both(name, tmp_path):
    write, _ = WRITERS[name]
    write(tmp_path)
    questions = read(name, tmp_path)
    strict, compat = _both(name, answered(questions, right))
    assert compat and all(key.startswith("compat_") for key in compat)
    for key, value in compat.items():
        plain = strict.get(key.removeprefix("compat_"))
        assert value == pytest.approx(plain if plain is not None else 100), key


@pytest.mark.parametrize("name", OTHERS)
def test_saying_nothing_scores_as_their_guess_or_not_at_all(name, tmp_path):
    write, _ = WRITERS[name]
    write(tmp_path)
    questions = read(name, tmp_path)
    strict, compat = _both(name, answered(questions, lambda q: ""))
    if name == "mvbench":
        assert compat == {}  # no answer is left to take a mean of
    elif name in OF_UNREAD:
        chances = [1 / len(q.choices) for q in questions if q.choices]
        (value,) = compat.values()
        assert value == pytest.approx(100 * math.fsum(chances) / len(chances))
    elif name == "tomato":
        first = sum(q.answer == "A" for q in questions)
        assert compat == {"compat_accuracy": pytest.approx(100 * first / len(questions))}
    elif name == "textvqa":
        assert compat["compat_accuracy"] > 0  # one of ten people said nothing, too
    else:
        assert not any(value > 0 for value in compat.values())
    assert not any(value > 0 for key, value in strict.items() if not _counts(key))


def _counts(key):
    return key in ("tasks", "groups", "questions_with_subtitles")


def test_popes_f1_is_theirs(tmp_path):
    """12 hits, 4 misses and 2 false alarms; "Yes." is none of them, though it is wrong."""
    WRITERS["pope"][0](tmp_path)
    (question, *_) = answered(read("pope", tmp_path), right)
    says = [("yes", "yes", 12), ("yes", "no", 4), ("yes", "Yes.", 8), ("no", "yes", 2),
            ("no", "no", 22)]  # fmt: skip
    answers = [
        dataclasses.replace(question, answer=there, text=said)
        for there, said, count in says
        for _ in range(count)
    ]
    _, compat = _both("pope", answers)
    assert compat == {
        "compat_accuracy": pytest.approx(100 * 34 / 48),
        "compat_f1_overall": pytest.approx(100 * 24 / (24 + 2 + 4)),
        "compat_precision": pytest.approx(100 * 12 / 14),
        "compat_recall": pytest.approx(100 * 12 / 16),
    }


def test_mvbenchs_empty_answers_leave_the_count(tmp_path):
    WRITERS["mvbench"][0](tmp_path)
    questions = [q for q in read("mvbench", tmp_path)][:3]
    questions = [dataclasses.replace(q, task="one") for q in questions]
    answers = answered(questions, lambda q: q.answer if q is questions[0] else "")
    strict, compat = _both("mvbench", answers)
    assert strict["mean_over_tasks"] == pytest.approx(100 / 3)
    assert compat == {"compat_mean_over_tasks": 100}
