"""Rules that one benchmark has for itself: MMBench, MVBench, TempCompass, MME, POPE."""

import pytest

from evaluation.scoring.compat import mmbench, mme, mvbench, pope, tempcompass
from tests.evaluation.scoring.compat.generated import WORDS, answers

TEXTS = {"A": "apple pie", "B": "brown bread", "C": "corn cake", "D": "date"}
MMBENCH = [
    ("a word", "{x}", "x"),
    ("a word", "say {x}", "x"),
    ("a word with a sign", "{w} ({x}).", "x"),
    ("a word with a sign", "{w} {x}, {w}", "x"),
    ("the first form that has one", "{x}. or {y}: {w}", "x"),
    ("two words are none, then text", "{x} {y} brown bread", "B"),
    ("text", "that is corn cake, {w}", "C"),
    ("two texts are none, then any letter", "corn cake or apple pie [{x}]", "x"),
    ("nothing", "{w}", None),
]
MVBENCH = [
    ("named", "{x}. {w}", "x"),
    ("alone", "{x}", "x"),
    ("alone", "({x}) {w}", "x"),
    ("alone", "the answer is {x}", "x"),
    ("the first", "{w} ({x}) {w} ({y})", "x"),
    ("signs vanish", "{w} {x}-{y} / {w}", "x"),
    ("the article", "a man, {x}", "A"),
    ("small letters", "it is b", "B"),
    ("nothing", "{w}", None),
]


def test_mmbench():
    cases = list(answers(MMBENCH))
    for rule, said, read in cases:
        for right in TEXTS:
            assert mmbench(said, {"answer": right, "choices": TEXTS}) == (read == right), (
                rule,
                said,
            )
    assert len(cases) > 500
    # "A" among more than three words may be an article.
    meta = {"answer": "A", "choices": TEXTS}
    assert mmbench("A big red ball", meta) == 1  # in the end it begins the text
    assert mmbench("I see A brown bread", meta) == 0
    # Options that are not there are called "nan", which stands in "banana".
    fruit = {"A": "banana", "B": "apple"}
    assert mmbench("apple", {"answer": "B", "choices": fruit}) == 1
    assert mmbench("banana", {"answer": "A", "choices": fruit}) == 0


def test_mvbench():
    cases = list(answers(MVBENCH))
    for rule, said, read in cases:
        for right in "ABCD":
            assert mvbench(said, {"answer": right}) == (read == right), (rule, said)
    assert len(cases) > 400
    assert mvbench("", {"answer": "A"}) is None
    assert mvbench("<think>A</think>", {"answer": "A"}) is None


def _asked(format, answer, **more):
    return {"asked": format, "answer": answer, "choices": TEXTS, "label": "", **more}


def test_tempcompass_by_words_alone():
    for right in TEXTS:
        meta, caption = _asked("multi-choice", right), _asked("caption_matching", right)
        caption["label"] = "Caption "
        for x, text in TEXTS.items():
            for said in (x, f"{x}.", f"{x}. {text}", f"{x}) {text}", f"{x}. or {right}"):
                assert tempcompass(said, meta) == (x == right), said
            for said in (text, f"({x})", f"It is {x}", f"{x}: {text}", x.lower(), ""):
                assert tempcompass(said, meta) == 0, said
            for said in (x, f"{x}.", f"Caption {x}", f"Caption {x}: {text}", text, f"{x}) {text}"):
                assert tempcompass(said, caption) == (x == right), said
            for said in (f"{x}: {text}", f"({x})", f"It is {x}", text.upper(), ""):
                assert tempcompass(said, caption) == 0, said
    for words in WORDS:
        for right in ("yes", "no"):
            meta = _asked("yes_no", right)
            assert tempcompass(f"Yes, {words}", meta) == (right == "yes")
            assert tempcompass(f"No{words}", meta) == (right == "no")
            assert tempcompass(f"It is {right}, {words}", meta) == 0


@pytest.mark.parametrize(
    ("said", "read"),
    [
        *((f"{word}{behind}", word.lower()) for word in ("Yes", "no", "NO", "yes")
          for behind in ("", ".", ", it is", " ", "\n", "!")),
        *((f"{word}, {words}", word) for word in ("yes", "no") for words in WORDS),
        *(("y", "yes"), ("N.", "no"), ("Not sure", "no"), ("yesterday", "yes"), ("know", "no")),
        *(("a yes", None), ("I no", "no"), ("It is yes", None), ("The answer is no", None)),
        *(("", None), ("maybe", None), ("x", None)),
    ],
)  # fmt: skip
def test_mme_reads_four_characters(said, read):
    for right in ("yes", "no"):
        assert mme(said, {"answer": right}) == (read == right)
        bare = said.strip().lower()
        assert pope(said, {"answer": right}) == (bare == right)
