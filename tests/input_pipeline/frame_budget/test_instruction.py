import collections
import time

import pytest

from input_pipeline.frame_budget.instruction import instruction_demand, split_options
from input_pipeline.frame_budget.instruction_rules import DEMANDS, RULES
from tests.input_pipeline.frame_budget import instruction_held_out
from tests.input_pipeline.frame_budget.instruction_cases import CASES

CLASS = {"low": "low", "low-medium": "medium", "medium": "medium", "high": "high"}


def _found(cases):
    """(label, what the rules say, text) of each case."""
    return [(label, CLASS[instruction_demand(text).demand], text) for text, label in cases]


def test_agrees_with_the_labels_that_the_rules_were_made_with():
    wrong = [(label, text) for label, found, text in _found(CASES) if found != label]
    print(f"{len(CASES) - len(wrong)} of {len(CASES)} instructions", *wrong, sep="\n")
    assert len(CASES) >= 280
    assert len(wrong) / len(CASES) <= 0.02, wrong


def test_agrees_with_held_out_labels():
    # Which cases are missed is not printed: knowing would make it a set to fit rules to.
    counts = collections.Counter(found[:2] for found in _found(instruction_held_out.CASES))
    agreement = sum(n for (label, found), n in counts.items() if label == found) / counts.total()
    print(f"agreement {agreement:.3f} of {counts.total()}, (label, found): {dict(counts)}")
    assert counts.total() == 133
    assert agreement >= 0.81, counts  # 0.820, as docs/frame_budget.md says
    assert not counts["low", "high"], "no easy question costs the largest budget"


@pytest.mark.parametrize("cases", [CASES, instruction_held_out.CASES], ids=["known", "held out"])
def test_labelled_sets_are_balanced_and_in_two_languages(cases):
    texts = [text for text, _ in cases]
    assert len(set(texts)) == len(texts)
    assert not {t for t, _ in CASES} & {t for t, _ in instruction_held_out.CASES}
    labels = collections.Counter(label for _, label in cases)
    assert set(labels) == {"low", "medium", "high"}
    assert min(labels.values()) >= len(cases) / 4
    assert sum("\u4e00" <= max(text) <= "\u9fff" or "？" in text for text in texts) >= 20


def test_every_rule_decides_some_labelled_instruction():
    deciding = {instruction_demand(text).why.removeprefix("options: ") for text, _ in CASES}
    assert {rule.why for rule in RULES} <= deciding


def test_rules_are_a_sound_table():
    assert len({rule.name for rule in RULES}) == len(RULES)
    assert {rule.demand for rule in RULES} == set(DEMANDS)


def test_the_most_demanding_turn_decides():
    turns = ["What colour is the hat?", "Why does he laugh?", "How many times does he clap?"]
    for order in (turns, turns[::-1]):
        assert instruction_demand("\n".join(order)).why == "counts events"
    assert instruction_demand("\n".join(turns[:2])).why == "asks for a cause"


@pytest.mark.parametrize(
    "text",
    ["The discount is because.", "A colourless becausea", "Spaced flashlightx", "Afterlife"],
)
def test_patterns_stop_at_word_boundaries(text):
    # "count", "flash", "pace" and "after" stand inside other words here
    assert instruction_demand(text).demand != "high"
    assert instruction_demand("Afterlife discounted.").why == "no particular demand"


def test_letters_of_any_width_and_case():
    assert instruction_demand("ＨＯＷ ＭＡＮＹ ＴＩＭＥＳ does it spin").demand == "high"
    assert instruction_demand("What’s happening here").why == "asks what happens"


@pytest.mark.parametrize(
    "text",
    [
        "Watch closely. Is the cup full?\nA. yes, after it was filled\nB. no",
        "Is the cup full? (A) it changes (B) it repeats (C) never",
        "Is the cup full?\n(a) first\n(b) last\n(c) again and again",
    ],
)
def test_options_lift_an_unclear_question_to_medium_at_most(text):
    demand = instruction_demand(text)
    assert demand.demand == "medium"
    assert demand.why.startswith("options: ")


def test_options_do_not_count_where_the_question_is_clear():
    options = "\nA. faster and faster\nB. he jumps many times before noon"
    assert instruction_demand("What colour is it?" + options).demand == "low"
    assert instruction_demand("Which way does it move?" + options).why == "asks about motion"


def test_split_options_by_hand():
    assert split_options("what?\na. one\nb. two\nanswer now.") == (
        "what?\n\n\nanswer now.",
        "a. one\nb. two",
    )
    question, options = split_options("x?\na) one\nb) two\ny?\na) three\nb) four")
    assert question.split() == ["x?", "y?"]
    assert options == "a) one\nb) two\na) three\nb) four"
    # a lone mark is no list of options
    assert split_options("vitamin a. is it good?") == ("vitamin a. is it good?", "")


@pytest.mark.parametrize(
    "words",
    [
        "You should watch and learn the video content. Then apply what you learned to answer the "
        "following question. The image for this question is at the end of the video.\n",
        "Please ignore the Quiz question in last frame of the video.\n",
        "Think it through step by step. ",
        "This video's subtitles are listed below:\nwhy did he go, how many times\nSelect the best "
        "answer to the following question.\n",
        "Before answering, look closely. ",
        "After watching the video, answer this: ",
    ],
)
def test_words_on_how_to_answer_demand_nothing(words):
    assert instruction_demand(words + "What colour is the flag?").why == "asks for a colour"
    assert instruction_demand(words + "How many times does it wave?").why == "counts events"


def test_level_has_equal_steps():
    levels = [instruction_demand(t).level for t in ("what colour", "how many", "why", "how often")]
    assert levels == pytest.approx([0, 1 / 3, 2 / 3, 1])


@pytest.mark.parametrize(
    "words",
    [
        "word ",
        "how many ",
        "what ",
        "a",
        "describe the ",
        "where ",
        "a. b. ",
        "first, please ",
        "(a) ",
    ],
)
def test_long_text_takes_linear_time(words):
    text = (words * 20_000)[:20_000]
    start = time.process_time()
    instruction_demand(text)
    assert time.process_time() - start < 2  # about 0.05 s; a quadratic pattern takes minutes
