"""Made-up questions with a rule planted in them: what they need follows from words and novelty."""

import dataclasses

import numpy as np

from evaluation.budget.labels import Labels, Question
from evaluation.results import Prediction
from input_pipeline.frame_budget.learned.features import Features, grams_of, words_of

COUNTS = (2, 4, 8, 16)
KINDS = ("what colour is the {}", "which digit is on the {}", "does the {} come first")
THINGS = ("square", "circle", "star", "cat", "dog", "house")


def questions(count, noise=0.0, seed=0):
    """`count` of them, two a clip. noise: the share whose need is drawn at random."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(count):
        kind = int(rng.integers(len(KINDS)))
        words = words_of(KINDS[kind].format(THINGS[rng.integers(len(THINGS))]))
        novelty, seconds = rng.uniform(0, 1), rng.uniform(1, 20)
        place = kind + int(novelty > 0.5)
        if rng.uniform() < noise:
            place = int(rng.integers(len(COUNTS)))
        numbers = (np.log2(seconds), np.log2(seconds * 10), np.log2(10), novelty)
        features = Features(grams_of(words), (*numbers, 2.6, 0.0, 1.0, 0.0, 0.0))
        needed = COUNTS[place]
        found.append(Question(f"q{i}", KINDS[kind], f"clip{i // 2}", features, needed, 4))
    return found


def labels_of(asked, given=None):
    """Labels of a model that is right from where it needs no more frames, and wrong below."""
    return Labels(
        counts=COUNTS,
        questions=asked,
        by_count={c: {q.name: _answer(q, c) for q in asked} for c in COUNTS},
        given=given or {},
        left_out={},
        about={"questions": len(asked), "clips": len(asked) // 2, "needed": {}},
    )


def _answer(question, count):
    right = count >= question.needed
    answer = Prediction(
        *(question.name, "made_up", question.kind, "short", count, ""),
        *("red" if right else f"wrong at {count}", "red", float(right), True, 4, 0.25),
    )
    return dataclasses.replace(answer, cluster=question.cluster)
