"""What a predictor is told: words by their hashes, and numbers of the clip."""

import math

import pytest

from input_pipeline.frame_budget.learned.features import (
    BUCKETS,
    NUMBERS,
    features_of,
    grams_of,
    words_of,
)
from input_pipeline.frame_budget.novelty import novelty
from tests.input_pipeline.frame_budget.budget_queries import Preview, query


def test_words_have_neither_case_nor_punctuation():
    assert words_of("What’s the CAR's colour?\nAnswer: red_2!") == [
        *("what's", "the", "car's", "colour", "answer", "red", "2")
    ]
    assert words_of("猫在做什么 now") == [*"猫在做什么", "now"]
    assert words_of("…?!") == []


def test_grams_are_words_and_pairs_and_the_same_everywhere():
    found = grams_of(["how", "many", "claps"])
    assert len(found) == 3 + 2 and all(0 <= bucket < BUCKETS for bucket in found)
    assert found[:1] == grams_of(["how"]) and grams_of([]) == ()
    # Written down once: another number means that predictors of before see other words.
    assert grams_of(["how", "many"]) == FIXED
    assert set(grams_of(["many", "how"])) != set(FIXED)  # the pair is another one


FIXED = (1484, 1545, 139)


def test_numbers_are_those_of_the_clip_and_the_text():
    asked = query("How many times does the man clap?", seconds=16.0, frames=400)
    numbers = dict(zip(NUMBERS, features_of(asked).numbers, strict=True))
    assert numbers["log2 seconds"] == 4 and numbers["log2 frames"] == pytest.approx(math.log2(400))
    assert numbers["log2 frames per second"] == pytest.approx(math.log2(25))
    assert numbers["log2 words"] == 3
    assert numbers["novelty"] == novelty(Preview()(8))
    assert [numbers[f"demand {each}"] for each in ("low", "low-medium", "medium", "high")] == [
        *(0.0, 0.0, 0.0, 1.0)
    ]


def test_what_was_measured_before_is_not_measured_again():
    first = query()
    features = features_of(first)
    assert len(first.preview.calls) == 1
    again = query(preview=Preview(seed=1))
    again.of_medium.update(first.of_medium)
    again.of_words.update(first.of_words)
    assert features_of(again) == features and again.preview.calls == []
