"""Words: TextVQA, OCRBench and AI2D."""

import re
import string
from collections.abc import Mapping
from typing import Any

from evaluation.scoring.compat.reasoning import visible

_SIGNS = ';/[]"{}()=+\\_-><@`,?!'
_DIGITS = {
    **{"none": 0, "zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5},
    **{"six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10},
}
_SHORTENED = (  # without their apostrophe
    "aint arent cant couldve couldnt couldntve didnt doesnt dont hadnt hadntve hasnt havent hed "
    "hedve hes howd howll hows isnt itd itdve itll maam mightnt mightntve mightve mustnt mustve "
    "neednt notve oclock oughtnt shant shedve shouldve shouldnt shouldntve somebodyd somebodydve "
    "somebodyll somebodys someoned someonedve someonell someones somethingd somethingdve "
    "somethingll thats thered theredve therere theres theyd theydve theyll theyre theyve twas "
    "wasnt wedve weve werent whatll whatre whats whatve whens whered wheres whereve whod whodve "
    "wholl whos whove whyll whyre whys wont wouldve wouldnt wouldntve yall yallll yalldve youd "
    "youdve youll youre youve"
)


def textvqa(said: str, meta: Mapping[str, Any]) -> float:
    """The mean over ten people of min(1, others who said it / 3), words made equal by `_evalai`."""
    given = _evalai(visible(said))
    answers = [_evalai(answer) for answer in meta["answers"]]
    same = answers.count(given)
    alike = [same - (answer == given) for answer in answers]
    return sum(min(1.0, others / 3) for others in alike) / len(answers)


def ocrbench(said: str, meta: Mapping[str, Any]) -> float:
    """One of the answers stands anywhere in what was said, also in a longer word: "12" in "120".
    Formulas are compared with their case, without their spaces."""
    text = visible(said)
    if meta["ignore_spaces"]:
        answers = [re.sub("[ \n]", "", answer.strip()) for answer in meta["answers"]]
        text = re.sub("[ \n]", "", text)
    else:
        answers = [_one_line(answer) for answer in meta["answers"]]
        text = _one_line(text)
    return float(any(answer in text for answer in answers))


def ai2d(said: str, meta: Mapping[str, Any]) -> float:
    """The letter of "B. …", also before thoughts are cut; else the answer must be nothing but the
    letter, in either case, and signs: "The answer is B" is wrong."""
    named = re.match(r"\s*([A-Z])\.", said)
    text = visible(named[1] if named else said)
    return float(text.lower().translate(_WITHOUT_SIGNS) == meta["answer"].lower())


_WITHOUT_SIGNS = str.maketrans("", "", string.punctuation)
_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: " "}


def _one_line(text: str) -> str:
    return text.translate(_FULL_WIDTH).lower().strip().replace("\n", " ")


def _evalai(text: str) -> str:
    """Small letters; no articles, commas or signs; numbers up to ten as digits, "none" as 0."""
    text = text.lower().replace(",", "").replace("?", "").replace("'s", " 's").strip()
    text = text.replace("\n", " ").replace("\t", " ").strip()
    words = [str(_DIGITS.get(word, word)) for word in without_signs(text).split()]
    return " ".join(_apart(word) for word in words if word not in ("a", "an", "the"))


def without_signs(text: str) -> str:
    """A sign that stands beside a space anywhere vanishes everywhere, others turn into a space; all
    vanish where a comma stands in a number. So do dots, up to 32, but before a digit."""
    in_number = re.search(r"\d,\d", text) is not None
    plain = text
    for sign in _SIGNS:
        gone = in_number or f"{sign} " in text or f" {sign}" in text
        plain = plain.replace(sign, "" if gone else " ")
    return re.sub(r"\.(?!\d)", "", plain, count=32)


def _apart(word: str) -> str:
    """ "don't" and "dont" are one."""
    bare = word.replace("'", "")
    return bare if bare in _SHORTENED.split() else word
