"""Which part of an output is read, and that nothing else is given credit for."""

import pytest

from evaluation.scoring import FORMATS, Scored, final_answer, parse_choice, score

COLOURS = {"A": "红", "B": "蓝色", "C": "green", "D": "A型"}
META = {"answer": "B", "choices": COLOURS}
RIGHT, WRONG, UNREAD = Scored(1.0, True), Scored(0.0, True), Scored(0.0, False)


@pytest.mark.parametrize(
    ("output", "read"),
    [
        ("B", "B"),
        ("<think>A? No.</think>B", "B"),
        ("A? No.</think>\n\nB", "\n\nB"),  # the prompt had begun the thought
        ("<think>A</think>C<THINK>no</THINK> B", " B"),
        ("<thinking>A</thinking>B", "B"),
        ("<think>It is B", ""),
        ("<think>A</think> or <think>B", ""),
        ("<answer>B</answer>", "B"),
        ("So A is wrong. <Answer> B </Answer> Done.", " B "),
        ("<think><answer>A</answer></think><answer>B</answer>", "B"),
        ("<answer>B</answer> <answer>\nB</answer>", "\nB"),
        ("<answer>A</answer><answer>B</answer>", ""),
        ("<answer>B", "B"),
        ("B</answer>", "B"),
        (r"\boxed{B}", "B"),
        (r"Thus \( \boxed{\text{B}} \).", "B"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"<answer>\boxed{B}</answer>", "B"),
        (r"\boxed{A} \boxed{B}", ""),
        (r"\boxed{B", "B"),
        ("", ""),
    ],
)
def test_what_is_read_of_an_output(output, read):
    assert final_answer(output) == read


@pytest.mark.parametrize(
    ("output", "scored"),
    [
        ("<answer>B</answer>", RIGHT),
        ("<answer>(B) 蓝色</answer>", RIGHT),
        ("A would be red, C green.\n<answer>B</answer>", RIGHT),
        (r"Since A fails, $\boxed{B}$", RIGHT),
        ("<think>Maybe A, C or D.</think>\n\nThe answer is B.", RIGHT),
        ("答案是B", RIGHT),
        ("答案：B。", RIGHT),
        ("正确答案为 (B)", RIGHT),
        ("因此选B。", RIGHT),
        ("我选择B，因为它是蓝色的", RIGHT),
        ("B、蓝色", RIGHT),
        ("Ｂ．蓝色", RIGHT),
        ("答案是蓝色。", RIGHT),
        ("B是正确的", RIGHT),
        ("B\n\nThe ball is blue; option A is wrong, and C is not seen.", RIGHT),
        ("B.\nExplanation: (A) shows a red ball.", RIGHT),
        ("<answer>A</answer>", WRONG),
        ("答案是A", WRONG),
        ("A\nThe ball is blue, as in B.", WRONG),
        # No false credit.
        ("<think>The answer is B", UNREAD),
        ("<think>B</think>", UNREAD),
        ("<think></think>", UNREAD),
        ("<answer></answer>", UNREAD),
        ("<answer>B</answer> no, <answer>C</answer>", UNREAD),
        ("<answer>B or C</answer>", UNREAD),
        (r"\boxed{A}, or rather \boxed{B}", UNREAD),
        ("答案不是B", UNREAD),
        ("不选B", UNREAD),
        ("不应选B。", UNREAD),
        ("B是错的", UNREAD),
        ("B 不对", UNREAD),
        ("答案是B或C", UNREAD),
        ("B型血", UNREAD),
        ("他的B计划", UNREAD),
        ("B\nC", UNREAD),
        ("B\n\nThe correct answer is C.", UNREAD),
        ("B. A is wrong.", UNREAD),
    ],
)
def test_choices_as_models_write_them(output, scored):
    assert score("choice", output, META) == scored


def test_an_option_of_chinese_beside_a_letter():
    assert parse_choice("A型", COLOURS, "ABCD") == "D"
    assert parse_choice("红", COLOURS, "ABCD") == "A"


@pytest.mark.parametrize(
    ("format", "meta", "right"),
    [
        ("yes_no", {"answer": "yes"}, "Yes."),
        ("short", {"answer": "3"}, "three"),
        ("caption", {"slots": ["red ball"]}, "A red ball."),
        ("contains", {"answers": ["12"]}, "It is 12."),
        ("number", {"answer": "12"}, "12"),
        ("interval", {"span": [3, 5]}, "3 - 5 s"),
        ("consensus", {"answers": ["red"] * 10}, "red"),
        ("choice", META, "B"),
    ],
)
def test_every_format_reads_the_same_part(format, meta, right):
    assert score(format, f"<think>no {right}</think><answer>{right}</answer>", meta).score == 1
    assert score(format, f"<think>{right}", meta) == UNREAD
    assert {"yes_no", "short", "caption", "choice"} <= set(FORMATS)
