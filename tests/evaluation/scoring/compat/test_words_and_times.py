"""Words, numbers, stretches of time and thoughts, rule by rule."""

import itertools

import pytest

from evaluation.scoring.compat import ai2d, charades_sta, ocrbench, textvqa, videommmu, visible


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("<think>A</think> B", "B"),
        ("<think>A</think>B<think>C</think>", "B"),
        ("<analysis>A</analysis>B", "B"),
        ("A</think>B", "B"),
        ("<think>A", "<think>A"),
        ("<THINK>A</THINK>B", "<THINK>A</THINK>B"),
        ("<answer>B</answer>", "<answer>B</answer>"),
        (" B ", "B"),
    ],
)
def test_thoughts_are_cut(said, left):
    assert visible(said) == left


def test_textvqa_makes_words_equal():
    alike = [
        ("12", "twelve", False),
        *(
            (str(i), word, True)
            for i, word in enumerate(["zero", "one", "two", "three", "four", "five"])
        ),
        ("0", "none", True),
        ("The Red Ball", "red ball", True),
        ("red, ball.", "red ball", True),
        ("red-ball", "red ball", True),
        ("red - ball", "red ball", True),
        ("dont", "don't", True),
        ("3.5", "3.5.", True),
        ("balls", "ball", False),
    ]
    for (one, other, same), count in itertools.product(alike, range(11)):
        people = [other] * count + [f"something else {i}" for i in range(10 - count)]
        out_of = [min(1, (count - (i < count)) / 3) for i in range(10)]
        expected = sum(out_of) / 10 if same else 0
        assert textvqa(one, {"answers": people}) == pytest.approx(expected), (one, other)


def test_ocrbench_looks_anywhere():
    words = ["12", "red ball", "ＡＢ", "出口"]
    for word, before, behind in itertools.product(words, ("", "x", "it is "), ("", "0", ".", "s")):
        meta = {"answers": ["nothing", word], "ignore_spaces": False}
        assert ocrbench(f"{before}{word.upper()}{behind}", meta) == 1
        assert ocrbench(f"{before}{word[:-1]}{behind}", meta) == 0
    meta = {"answers": ["\\frac { a } { B }"], "ignore_spaces": True}
    assert ocrbench("= \\frac{a}\n{B}", meta) == 1 and ocrbench("\\frac{a}{b}", meta) == 0


def test_ai2d_wants_nothing_but_the_letter():
    for right, x in itertools.product("ABCD", "ABCD"):
        for said in (x, x.lower(), f"({x})", f"{x}. because", f" {x}.", f"{x}.\n{right}"):
            assert ai2d(said, {"answer": right}) == (x == right), said
        for said in (f"The answer is {right}", f"{right}) red", f"{right} is it", ""):
            assert ai2d(said, {"answer": right}) == 0, said


def test_open_answers_of_videommmu():
    for number, words in itertools.product(range(3, 300, 7), ("The answer is", "so", "x =", "")):
        meta = {"answer": str(number), "choices": {}}
        for form in (f"{number}", f"{number}.0", f"{number} m", f"{number}.004"):
            assert videommmu(f"{words} {form}", meta) == 1, (words, form)
        assert videommmu(f"{words} {number}.1", meta) == 0
        assert videommmu(f"{words} {number}1", meta) == 0
    meta = {"answer": "Red ball", "choices": {}}
    for said in ("red ball", "It is a RED BALL, surely", "no\nthe answer is red ball"):
        assert videommmu(said, meta) == 1
    assert videommmu("red ball is the ball", meta) == 0  # only the end of a line is read
    assert videommmu("the ball", meta) == 0
    assert videommmu("", meta) is None


def test_the_first_stretch_of_time():
    for start, length in itertools.product(range(0, 60, 3), range(1, 40, 5)):
        end = start + length
        clock, until = f"{start // 60:02}:{start % 60:02}", f"{end // 60:02}:{end % 60:02}"
        meta = {"span": [float(start), float(end)]}
        for said in (
            f"{start} - {end}",
            f"The event happens in the {start}.0 - {end}.0 seconds.",
            f"It starts at {start} and\nends at {end}",
            f"from {start} to {end}, or 700 - 800",
            f"{end} - {start}",
            f"{clock} – {until}",
            f"starts at {clock}, ends at {until}",
            f"{start}s - {end}s",
            f"700 - 800\nIt happens in {start} - {end}",
        ):
            assert charades_sta(said, meta) == 1, (said, meta)
        assert charades_sta(f"{start} - {end + length}", meta) == pytest.approx(0.5)
        for said in ("soon", "", f"at {start} seconds", f"starts at {start}, ends at {end}"):
            assert charades_sta(said, meta) == 0, said  # one number a line
