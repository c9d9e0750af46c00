"""Every way in which lmms-eval's score and the strict one differ; docs/evaluation.md lists them."""

import pytest

from evaluation.scoring import compat, score

FOUR = {"A": "crimson ball", "B": "blue", "C": "dark green paint", "D": "none of these"}


def _choice(right):
    return {"answer": right, "choices": FOUR}


def _yes_no(right):
    return {"answer": right}


@pytest.mark.parametrize(
    ("scorer", "format", "meta", "said", "strict", "theirs"),
    [
        # Letters by place and signs.
        (compat.four_letters, "choice", _choice("A"), "The answer is B. A is wrong.", 0, 1),
        (compat.four_letters, "choice", _choice("B"), "B or C", 0, 1),
        (compat.four_letters, "choice", _choice("B"), "Because it falls", 0, 1),
        (compat.four_letters, "choice", _choice("A"), "A man walks", 0, 1),
        (compat.four_letters, "choice", _choice("B"), "b", 1, 0),
        (compat.four_letters, "choice", _choice("B"), "blue", 1, 0),
        (compat.four_letters, "choice", _choice("B"), "Not B", 0, 1),
        (compat.four_letters, "choice", _choice("B"), "A. blue or B", 0, 0),
        # The first capital letter, and a guess.
        (compat.longvideobench, "choice", _choice("C"), "It Can be D", 0, 1),
        (compat.longvideobench, "choice", _choice("C"), "I do not know", 0, 0.25),
        (compat.longvideobench, "choice", _choice("C"), "", 0, 0.25),
        (compat.videomme_v2, "choice", _choice("B"), "Because it falls", 0, 1),
        # MMMU's parser: the last letter, a guess.
        (compat.nextqa, "choice", _choice("C"), "B or C", 0, 1),
        (compat.nextqa, "choice", _choice("C"), "I do not know", 0, 0.25),
        (compat.nextqa, "choice", _choice("C"), "it looks just like dark green paint to me", 0, 1),
        (compat.mmmu, "choice", _choice("C"), "", 0, 0.25),
        (compat.mmmu, "short", {"answer": "12", "choices": {}}, "12", 1, None),
        (compat.egoschema, "choice", _choice("B"), "B or C", 0, 1),
        (compat.egoschema, "choice", _choice("B"), "?", 0, 0.25),
        (compat.tomato, "choice", _choice("A"), "I do not know", 0, 1),
        (compat.tomato, "choice", _choice("B"), "Both", 0, 1),
        # MMBench: text in the answer, then letters.
        (compat.mmbench, "choice", _choice("B"), "It is something blue", 0, 1),
        (compat.mmbench, "choice", _choice("B"), "Because it falls", 0, 1),
        # MVBench: the article, and empty answers that do not count.
        (compat.mvbench, "choice", _choice("A"), "The man is a person", 0, 1),
        (compat.mvbench, "choice", _choice("B"), "B or C", 0, 1),
        (compat.mvbench, "choice", _choice("B"), "blue", 1, 0),
        (compat.mvbench, "choice", _choice("B"), "", 0, None),
        # TempCompass: only the plain forms, without the judge.
        (compat.tempcompass, "choice", _choice("B") | {"asked": "multi-choice"}, "It is B.", 1, 0),
        (
            compat.tempcompass,
            "choice",
            _choice("B") | {"asked": "caption_matching", "label": "Caption "},
            "The answer is B",
            *(1, 0),
        ),
        (compat.tempcompass, "yes_no", _yes_no("no") | {"asked": "yes_no"}, "Nobody", 0, 1),
        (compat.tempcompass, "yes_no", _yes_no("no") | {"asked": "yes_no"}, "It is no", 1, 0),
        # Yes and no.
        (compat.mme, "yes_no", _yes_no("no"), "Not sure", 0, 1),
        (compat.mme, "yes_no", _yes_no("yes"), "yesterday", 0, 1),
        (compat.mme, "yes_no", _yes_no("yes"), "y", 0, 1),
        (compat.mme, "yes_no", _yes_no("yes"), "The answer is yes", 1, 0),
        (compat.mme, "yes_no", _yes_no("yes"), "Yes and no", 0, 1),
        (compat.pope, "yes_no", _yes_no("yes"), "Yes.", 1, 0),
        # Words and numbers.
        (compat.ai2d, "choice", _choice("B"), "The answer is B", 1, 0),
        (compat.ai2d, "choice", _choice("B"), "B. Or else C", 0, 1),
        (compat.realworldqa, "short", {"answer": "3"}, "three", 1, 0),
        (compat.textvqa, "consensus", {"answers": ["21"] * 10}, "twenty one", 1, 0),
        (compat.textvqa, "consensus", {"answers": ["0"] * 10}, "none", 0, 1),
        (compat.textvqa, "consensus", {"answers": ["the"] * 10}, "", 0, 1),
        (compat.ocrbench, "contains", {"answers": ["12"], "ignore_spaces": False}, "120", 0, 1),
        (compat.videommmu, "short", {"answer": "12", "choices": {}}, "It is 12 m", 0, 1),
        (compat.videommmu, "short", {"answer": "ball", "choices": {}}, "a baller", 0, 1),
        (compat.videommmu, "short", {"answer": "12", "choices": {}}, "", 0, None),
        # Stretches of time.
        (compat.charades_sta, "interval", {"span": [3, 10]}, "3 - 10 or 12 - 14", 0, 1),
        (compat.charades_sta, "interval", {"span": [3, 10]}, "10 - 3", 0, 1),
        (compat.charades_sta, "interval", {"span": [3, 10]}, "starts at 3, ends at 10", 1, 0),
        # What is an answer's end, and what was only thought.
        (compat.four_letters, "choice", _choice("B"), "<think>B", 0, 1),
        (compat.four_letters, "choice", _choice("B"), "C? <answer>B</answer> A", 1, 0),
    ],
)
def test_a_difference(scorer, format, meta, said, strict, theirs):
    assert score(format, said, meta).score == strict
    assert scorer(said, meta) == theirs
