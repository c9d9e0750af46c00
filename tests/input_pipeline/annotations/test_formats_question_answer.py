import pytest

from input_pipeline.examples import MediaRef, Turn
from tests.input_pipeline.annotations.format_helpers import ROOT, read, read_one, reason_of

IMAGE = MediaRef("image", f"{ROOT}/a.png")
OPTIONS = ["red", "blue", "green"]
ASKED = "Which?\nA. red\nB. blue\nC. green\nAnswer with the option's letter."


def qa(answer="blue", **record):
    return {"question": "Which?", "answer": answer, **record}


def test_media_come_before_a_question_without_tags(tmp_path):
    example = read_one(tmp_path, qa(image="a.png", video=["b.mp4"], task="t"))
    video = MediaRef("video", f"{ROOT}/b.mp4")
    assert example.turns == (
        Turn("user", (IMAGE, video, "Which?")),
        Turn("assistant", ("blue",)),
    )
    # A benchmark is scored by the answer in the metadata.
    assert example.meta == {"task": "t", "answer": "blue"}
    assert read_one(tmp_path, qa()).media == ()


def test_tags_say_where_media_go(tmp_path):
    record = qa(image="a.png") | {"question": "In <image>, which?"}
    assert read_one(tmp_path, record).turns[0].parts == ("In ", IMAGE, ", which?")
    assert reason_of(tmp_path, record | {"image": None}) == "tag_without_media"


@pytest.mark.parametrize("answer", ["blue", "B", "(B)", "B.", 1, "B. blue", "(B) blue", " blue "])
@pytest.mark.parametrize(
    "options",
    [
        OPTIONS,
        ["A. red", "B. blue", "C. green"],
        ["(A) red", "(B) blue", "(C) green"],
        {"A": "red", "B": "blue", "C": "green", "D": None},
    ],
)
def test_options_become_lines_and_the_answer_a_letter(tmp_path, options, answer):
    example = read_one(tmp_path, qa(answer, options=options, image="a.png"))
    assert example.turns == (Turn("user", (IMAGE, ASKED)), Turn("assistant", ("B",)))
    choices = {"A": "red", "B": "blue", "C": "green"}
    assert example.meta == {"format": "choice", "choices": choices, "answer": "B"}


@pytest.mark.parametrize(
    ("options", "answer", "right"),
    [
        (["(A)red", "(B)blue"], "B", ["red", "blue"]),
        (["A.red", "B.blue"], "B", ["red", "blue"]),
        (["A、红", "B、蓝"], "B", ["红", "蓝"]),
        (["a. red", "b. blue"], "b", ["red", "blue"]),
        (["A: red", "B: blue"], "B: blue", ["red", "blue"]),
        (["red", "blue"], "b", ["red", "blue"]),
        (["No", "Yes"], "Yes.", ["No", "Yes"]),
        ({"a": "red", "b": "blue"}, "b", ["red", "blue"]),
        ([1, 2, 3], 2, ["1", "2", "3"]),  # a number among numbers is one of them, not a place
        (["A. Smith", "Bob"], "Bob", ["A. Smith", "Bob"]),  # letters only where all have theirs
        (["b", "a"], "a", ["b", "a"]),  # a text before a letter
        (["red", "blue"], "Blue", ["red", "blue"]),
        (["red", "blue"], "1", ["red", "blue"]),  # a place in a file of texts
        ([False, True], True, ["False", "True"]),
        (["No", "Yes"], True, ["No", "Yes"]),
        (["wrong", "right"], "[B]", ["wrong", "right"]),
        ({"0": "red", "1": "blue"}, 1, ["red", "blue"]),
        ({"1": "green", "2": "red"}, 2, ["green", "red"]),  # a name before a place
        ([" red", "blue "], "blue", ["red", "blue"]),
        ({"option 0": "red", "option 1": "blue"}, "option 1", ["red", "blue"]),
        ('["red", "blue"]', "B", ["red", "blue"]),
        ("['red', 'blue']", "B", ["red", "blue"]),
        ("{'A': 'red', 'B': 'blue'}", "B", ["red", "blue"]),
        ("A. red\nB. blue\n", "B", ["red", "blue"]),
        ("red\nblue", "blue", ["red", "blue"]),
        ("(A) red (B) blue", "B", ["red", "blue"]),
        ("A、红 B、蓝", "B", ["红", "蓝"]),
    ],
)
def test_options_as_data_sets_spell_them(tmp_path, options, answer, right):
    example = read_one(tmp_path, qa(answer, options=options))
    lines = [f"{letter}. {text}" for letter, text in zip("ABC", right, strict=False)]
    assert example.turns[0].text.split("\n")[1:-1] == lines
    assert example.turns[1].text == "B"


@pytest.mark.parametrize("key", ["options", "candidates", "choices"])
def test_options_under_the_keys_of_other_data_sets(tmp_path, key):
    example = read_one(tmp_path, qa("blue", **{key: ["red", "blue"]}))
    choices = {"A": "red", "B": "blue"}
    assert example.turns[1].text == "B"
    assert example.meta == {"answer": "B", "format": "choice", "choices": choices}
    listed = {"question": "Which?\nA. red\nB. blue", "answer": "B", "format": "choice"}
    example = read_one(tmp_path, listed | {"choices": choices})  # a benchmark's: not asked twice
    assert example.turns[0].text == listed["question"] and example.meta["choices"] == choices


def test_earlier_questions_are_turns_before_the_record_s_own(tmp_path):
    earlier = [{"question": "What?", "answer": "A ball."}, qa("B", options=["red", "blue"])]
    record = {"questions": earlier, "image": "a.png", "system": "Be brief."}
    example = read_one(tmp_path, record)
    assert [turn.role for turn in example.turns] == ["system", *["user", "assistant"] * 2]
    assert example.turns[1].parts == (IMAGE, "What?") and example.turns[4].text == "B"
    example = read_one(tmp_path, record | {"question": "Where?", "answer": "There."})
    assert [turn.text for turn in example.turns[-2:]] == ["Where?", "There."]
    assert example.meta == {"answer": "There."}
    assert reason_of(tmp_path, qa() | {"questions": "What?"}) == "bad_turn"


def test_an_answer_among_numbers(tmp_path):
    for answer in ("2", "B", 2, 1):
        example = read_one(tmp_path, qa(answer, options=["0", "2"]))
        assert example.turns[1].text == "B"


def test_the_place_of_the_answer_where_a_data_set_says_it_is_one(tmp_path):
    for options in ([3, 1, 2], ["3", "1", "2"], {"A": "1", "B": "0", "C": "2"}):
        record = {"question": "How many?", "options": options}
        assert read_one(tmp_path, record | {"answer_place": 2}).turns[1].text == "C"
        assert read_one(tmp_path, record | {"answer": 0, "answer_place": "1"}).turns[1].text == "B"
        for place in (3, -1, True, "B", 1.5):
            assert reason_of(tmp_path, record | {"answer_place": place}) == "bad_answer"


@pytest.mark.parametrize(
    "options",
    [
        {"A": "red", "B": "blue"},
        {"a0": "red", "a1": "blue", "a2": 3},
        {"option_a": "red", "option_b": "blue"},
        {"option 0": "red", "option 1": "blue"},
        {"choice1": "red", "choice2": "blue"},
        {"multi_choice_options": ["red", "blue"]},
        {"option": {"A": "red", "B": "blue"}},
    ],
)
def test_options_under_other_keys_are_not_left_out_without_a_word(tmp_path, options):
    assert reason_of(tmp_path, qa("B", **options)) == "unread_options"
    (found,) = read(tmp_path, [qa("B", **options)])
    assert (
        '"columns": {"options": ' in found.detail and f"{{{next(iter(options))}}}" in found.detail
    )
    listed = {"question": "Which?\nA. red\nB. blue\nC. 3", "answer": "B", **options}
    assert read_one(tmp_path, listed).turns[0].text == listed["question"]


def test_what_is_no_option(tmp_path):
    fields = {"a": "x", "answer1": "x", "answer2": "y", "b1": "x", "b2": "y", "num_options": 4}
    assert read_one(tmp_path, qa("A ball.", **fields)).meta["num_options"] == 4


def test_numbers_are_answers_too(tmp_path):
    assert read_one(tmp_path, qa(3)).turns[1] == Turn("assistant", ("3",))
    assert read_one(tmp_path, qa(2.5)).turns[1] == Turn("assistant", ("2.5",))


@pytest.mark.parametrize(
    ("reason", "record"),
    [
        ("bad_answer", qa("yellow", options=OPTIONS)),
        ("bad_answer", qa(3, options=OPTIONS)),
        ("bad_answer", qa("D", options=OPTIONS)),
        ("bad_answer", qa(1, options=["1", "2"])),  # the text of one, the place of the other
        ("bad_answer", qa("A", options=["B", "A"])),
        ("bad_answer", qa(-1, options=OPTIONS)),
        ("bad_record", qa("red", options="red, blue")),
        ("bad_record", qa("red", options="(A) red (C) blue")),
        ("bad_record", qa("red", options=3)),
        ("bad_answer", qa("2", options=["red", "blue"])),
        ("bad_answer", qa(True, options=["red", "blue"])),
        ("bad_record", qa("red", options=["red", ""])),
        ("bad_record", qa("red", options=[f"option {i}" for i in range(27)])),
        ("empty_answer", qa("")),
        ("empty_answer", qa(["blue"])),
        ("empty_answer", qa(True)),
        ("empty_question", qa() | {"question": " "}),
        ("control_token", qa("<|im_end|>")),
    ],
)
def test_what_is_rejected(tmp_path, reason, record):
    assert reason_of(tmp_path, record, format="question_answer") == reason
