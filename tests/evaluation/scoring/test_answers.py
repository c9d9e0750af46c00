"""Tables of answers with the score a careful human would give them."""

import pytest

from evaluation.scoring import FORMATS, Scored, normalise, parse_choice, parse_yes_no, score

DIRECTIONS = {"A": "right", "B": "left", "C": "up", "D": "down"}
PEOPLE = {"A": "The man is a dog", "B": "The man is a person", "C": "a", "D": "None of these"}


@pytest.mark.parametrize(
    "prediction, letter",
    [
        ("B", "B"),
        ("b", "B"),
        ("B.", "B"),
        ("(B)", "B"),
        ("(b)", "B"),
        ("[B]", "B"),
        ("B)", "B"),
        (" B\n", "B"),
        ("**B**", "B"),
        ("（B）", "B"),
        ("B. left", "B"),
        ("B: left", "B"),
        ("B left", "B"),
        ("(B) left", "B"),
        ("B - left", "B"),
        ("B.left", "B"),
        ("A right", "A"),
        ("b. left", "B"),
        ("b) it turns that way", "B"),
        ("left", "B"),
        ("Left.", "B"),
        ("The answer is B", "B"),
        ("The answer is B.", "B"),
        ("the answer is b.", "B"),
        ("The answer is (B).", "B"),
        ("The correct answer is: B. left", "B"),
        ("The answer is left.", "B"),
        ("Answer: B", "B"),
        ("Answer: A", "A"),
        ("Answer:\n(B)", "B"),
        ("Best option: D", "D"),
        ("Best option: (D)", "D"),
        ("Option C", "C"),
        ("It is C.", "C"),
        ("I choose option D.", "D"),
        ("B, because the ball rolls that way", "B"),
        ("B because the ball rolls that way", "B"),
        ("The ball rolls. The answer is B.", "B"),
        ("It rolls along a line.\nAnswer: A", "A"),
        ("A", "A"),
        ("a", "A"),
        ("A is correct", "A"),
        # Nothing, or nothing that can be read in one way.
        ("", None),
        ("   ", None),
        ("(", None),
        (")", None),
        ("()", None),
        (".", None),
        ("Because", None),
        ("Because the ball rolls, D", None),
        ("a man", None),
        ("A man walks", None),
        ("The answer is a man", None),
        ("Answer: A man", None),
        ("A ball moves to the left", None),
        ("B or C", None),
        ("B and C", None),
        ("A, B", None),
        ("A/B", None),
        ("The answer is B. A is wrong.", None),
        ("(A) or (B)", None),
        ("Not B", None),
        ("B is wrong", None),
        ("The answer is not B", None),
        ("A. left", None),  # the letter of one option with the text of another
        ("E", None),
        ("The answer is E", None),
        ("Bravo", None),
        ("Apple", None),
        ("Dog", None),
        ("B-side", None),
        ("D's", None),
        ("C major", None),
        ("Person B walks", None),
        ("I do not know", None),
        ("right or left", None),
    ],
)
def test_choice(prediction, letter):
    assert parse_choice(prediction, DIRECTIONS, "ABCD") == letter
    for answer in DIRECTIONS:
        expected = Scored(float(letter == answer), letter is not None)
        assert score("choice", prediction, {"answer": answer, "choices": DIRECTIONS}) == expected


@pytest.mark.parametrize(
    "prediction, letter",
    [
        ("The man is a person", "B"),  # the article is not option A, nor the option text "a"
        ("B. The man is a person", "B"),
        ("None of these.", "D"),
        ("A. The man is a person", None),
        ("The man is a cat", None),
    ],
)
def test_choice_with_sentences_as_options(prediction, letter):
    assert parse_choice(prediction, PEOPLE, "ABCD") == letter


def test_choice_without_listed_options():
    assert score("choice", "(F)", {"answer": "F"}) == Scored(1.0, True)
    assert score("choice", "It is F.", {"answer": "f"}) == Scored(1.0, True)
    assert score("choice", "I think so", {"answer": "A"}) == Scored(0.0, False)


def test_choice_letter_i_is_an_option_only_where_it_stands_as_one():
    nine = {letter: f"thing {letter}" for letter in "ABCDEFGHI"}
    assert parse_choice("I", nine, "ABCDEFGHI") == "I"
    assert parse_choice("I think it is B.", nine, "ABCDEFGHI") == "B"


def test_choice_text_shared_by_two_options_is_ambiguous():
    assert parse_choice("left", {"A": "left", "B": "Left."}, "AB") is None


@pytest.mark.parametrize(
    "prediction, given",
    [
        ("yes", "yes"),
        ("Yes.", "yes"),
        ("No", "no"),
        ("NO!", "no"),
        ("**Yes**", "yes"),
        ("Yes, there are no dogs.", "yes"),
        ("No, there is no dog.", "no"),
        ("The answer is yes", "yes"),
        ("The answer is: No.", "no"),
        ("There is no dog", "no"),
        ("", None),
        ("Not sure", None),
        ("yesterday", None),
        ("Nobody", None),
        ("Yes or no", None),
        ("Yes and no.", None),
        ("No. Yes.", None),
        ("Yes. Actually, no.", None),
        ("No, wait, yes", None),
        ("It could be yes, it could be no", None),
        ("No idea", None),
        ("I have no idea.", None),
        ("true", None),
        ("yes-man", None),
    ],
)
def test_yes_no(prediction, given):
    assert parse_yes_no(prediction) == given
    for answer in ("yes", "No"):
        expected = Scored(float(given == answer.lower()), given is not None)
        assert score("yes_no", prediction, {"answer": answer}) == expected


@pytest.mark.parametrize(
    "prediction, answer, right",
    [
        ("3", "three", True),
        ("Three.", "3", True),
        ("twenty-one", "21", True),
        ("ninety", "90", True),
        ("The Red Ball.", "red ball", True),
        ("a red, ball", "red ball", True),
        ("1,000", "1000", True),
        ("3.0", "3", True),
        ("50 %", "50%", True),
        ("don't", "don’t", True),
        ("  left  ", "Left", True),
        ("A", "a", True),  # an answer of only an article is kept
        ("3.5", "35", False),
        ("-3", "3", False),
        ("13", "3", False),
        ("three or four", "3", False),
        ("3 balls", "3", False),
        ("bored", "red", False),
        ("theatre", "atre", False),
    ],
)
def test_short(prediction, answer, right):
    assert score("short", prediction, {"answer": answer}) == Scored(float(right), True)


@pytest.mark.parametrize("prediction", ["", "  ", "...", "\n"])
def test_short_without_words_is_unparsed(prediction):
    assert score("short", prediction, {"answer": "left"}) == Scored(0.0, False)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("The Three dogs.", "3 dogs"),
        ("twenty one", "21"),
        ("twenty five six", "25 6"),
        ("one two", "1 2"),
        ("-3.50", "-3.5"),
        ("well-known", "well known"),
    ],
)
def test_normalise(text, expected):
    assert normalise(text) == expected


@pytest.mark.parametrize(
    "prediction, slots, expected",
    [
        ("A red ball moves left.", ["red", "ball", "left"], 1.0),
        ("A red ball moves.", ["red", "ball", "left"], 2 / 3),
        ("A bored baller", ["red", "ball"], 0.0),
        ("the red ball, then two squares", ["red ball", "2 squares"], 1.0),
        ("a ball that is red", ["red ball"], 0.0),
        ("it is on the table", ["on table"], 1.0),
        ("a red ball", ["red", "red"], 0.5),
        ("a red ball and a red square", ["red", "red"], 1.0),
    ],
)
def test_caption(prediction, slots, expected):
    scored = score("caption", prediction, {"slots": slots})
    assert scored.parsed
    assert scored.score == pytest.approx(expected)


def test_caption_without_words_is_unparsed():
    assert score("caption", " .", {"slots": ["red"]}) == Scored(0.0, False)


@pytest.mark.parametrize("format", FORMATS)
def test_an_empty_answer_is_wrong_and_unparsed(format):
    answer = {"yes_no": "no", "number": "3"}.get(format, "A")
    meta = {"answer": answer, "slots": ["a ball"], "answers": ["a ball"], "span": [0.0, 1.0]}
    assert score(format, "", meta) == Scored(0.0, False)


@pytest.mark.parametrize(
    "format, meta, message",
    [
        ("essay", {}, "essay"),
        ("choice", {"answer": "E", "choices": DIRECTIONS}, "'E' is not one of .* ABCD"),
        ("choice", {}, "None is not one of"),
        ("choice", {"answer": "A", "choices": ["left"]}, "meta.choices"),
        ("choice", {"answer": "1", "choices": {"1": "left"}}, "meta.choices"),
        ("yes_no", {"answer": "maybe"}, "maybe"),
        ("short", {"answer": " "}, "meta.answer"),
        ("caption", {}, "meta.slots"),
        ("caption", {"slots": "red"}, "meta.slots"),
        ("caption", {"slots": ["red", "."]}, "empty phrase"),
    ],
)
def test_a_question_that_cannot_be_scored_is_an_error(format, meta, message):
    with pytest.raises(ValueError, match=message):
        score(format, "B", meta)
