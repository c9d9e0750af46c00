"""What can be asked, and the record of one question with its answer.

Wordings never depend on the answer: they are drawn on their own, and every answer is dealt from a
balanced deck, so that the words of a question tell nothing about its answer.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from demo_world.decks import Decks

WORD = "Answer with one word."
NUMBER = "Answer with a number."
YES_NO = "Answer yes or no."
LETTER = "Answer with the option's letter."

# Several wordings of each question; {} is filled with what is asked about.
WORDINGS = {
    "digit": ("What digit is shown?", "Which digit do you see?"),
    "small_colour": ("What colour is the small object?", "Which colour is the smaller object?"),
    "count": ("How many objects are there?", "How many objects do you see?"),
    "position": ("Where is the {}?", "On which side is the {}?"),
    "larger": (
        "Is the {} object larger than the {} object?",
        "Is the {} object bigger than the {} object?",
    ),
    "exists": ("Is there a {}?", "Do you see a {}?"),
    "caption": ("Describe the {}.", "What does the {} show?"),
    "colour": ("What colour is the {}?", "Which colour is the {}?"),
    "direction": ("Which way does the {} move?", "In which direction does the {} move?"),
    "appears_first": ("Which appears first, {} or {}?", "Which comes first, {} or {}?"),
    "appears_first_choice": ("Which object appears first?", "Which object comes first?"),
    "order.second": ("What colour comes second?", "Which colour does the {} show second?"),
    "order.before": ("Is it {} before it is {}?", "Does it turn {} before it turns {}?"),
    "count_flashes": ("How many times does the light flash?", "How often does the square flash?"),
    "speed.change": ("Does the {} get faster or slower?", "Does the {} become faster or slower?"),
    "speed.race": ("Which moves faster, {} or {}?", "Which is faster, {} or {}?"),
    "brief_event": (
        "What colour is the {} that appears briefly?",
        "Which colour is the {} that is seen for a moment?",
    ),
}
WORDINGS["position_choice"] = WORDINGS["position"]
WORDINGS["static_digit"] = WORDINGS["digit"]
WORDINGS["static_colour"] = WORDINGS["colour"]


@dataclasses.dataclass(frozen=True)
class Question:
    """One question about a scene.

    task, format: as in the annotation ("choice", "yes_no", "short" or "caption").
    text, answer: what is asked and the reference answer.
    truth:   the answer in words; differs from `answer` where that is an option's letter.
    about:   the names filled into the wording.
    chance:  score of the best constant answer.
    choices: option letter → option, for format "choice".
    slots:   phrases a caption must contain, for format "caption".
    """

    task: str
    format: str
    text: str
    answer: str
    truth: str
    about: tuple[str, ...]
    chance: float
    choices: Mapping[str, str] | None = None
    slots: tuple[str, ...] = ()

    def turns(self, before: str = "") -> list[dict[str, str]]:
        """The question and its answer as LLaVA has them, `before` in front of the question."""
        return [
            {"from": "human", "value": f"{before}{self.text}"},
            {"from": "gpt", "value": self.answer},
        ]

    def scoring(self) -> dict[str, Any]:
        """The keys that an evaluation record carries."""
        record: dict[str, Any] = {
            "task": self.task,
            "format": self.format,
            "answer": self.answer,
            "chance": self.chance,
        }
        if self.choices:
            record["choices"] = dict(self.choices)
        if self.slots:
            record["slots"] = list(self.slots)
        return record


def wording(rng: np.random.Generator, kind: str, about: Sequence[str] = ()) -> str:
    """A randomly chosen wording of a kind of question with `about` filled in."""
    return str(rng.choice(WORDINGS[kind])).format(*about)


def short(
    rng: np.random.Generator,
    task: str,
    truth: str,
    options: int,
    hint: str = WORD,
    about: Sequence[str] = (),
    kind: str | None = None,
) -> Question:
    """A question answered by one word or number out of `options` equally likely ones."""
    text = f"{wording(rng, kind or task, about)}\n{hint}"
    return Question(task, "short", text, truth, truth, tuple(about), 1.0 / options)


def yes_no(
    rng: np.random.Generator,
    task: str,
    truth: bool,
    about: Sequence[str] = (),
    kind: str | None = None,
) -> Question:
    """A question answered by yes or no."""
    answer = "yes" if truth else "no"
    text = f"{wording(rng, kind or task, about)}\n{YES_NO}"
    return Question(task, "yes_no", text, answer, answer, tuple(about), 0.5)


def choice(
    rng: np.random.Generator,
    decks: Decks,
    task: str,
    truth: str,
    options: Sequence[str],
    about: Sequence[str] = (),
    kind: str | None = None,
) -> Question:
    """A question with lettered options in random order; the right letter is dealt from a deck."""
    letter, choices = lettered(rng, decks, kind or task, truth, options)
    listed = "\n".join(f"{key}. {option}" for key, option in choices.items())
    text = f"{wording(rng, kind or task, about)}\n{listed}\n{LETTER}"
    return Question(task, "choice", text, letter, truth, tuple(about), 1 / len(options), choices)


def lettered(
    rng: np.random.Generator, decks: Decks, kind: str, truth: str, options: Sequence[str]
) -> tuple[str, dict[str, str]]:
    """The right letter, dealt from the deck of that kind of question, and letter → option."""
    letters = "ABCD"[: len(options)]
    letter = decks.draw(f"{kind}.letter", letters)
    others = iter(rng.permutation([option for option in options if option != truth]).tolist())
    return letter, {key: truth if key == letter else next(others) for key in letters}


def caption(
    rng: np.random.Generator, medium: str, sentence: str, slots: Sequence[str], chance: float
) -> Question:
    """A request to describe the medium ("image" or "video") in the words of `sentence`."""
    text = wording(rng, "caption", (medium,))
    return Question("caption", "caption", text, sentence, sentence, (), chance, None, tuple(slots))


def conversation(questions: Sequence[Question], kind: str) -> list[dict[str, str]]:
    """The questions and answers as LLaVA has them; the first carries the medium, of kind "image" or
    "video"."""
    return [
        turn
        for number, question in enumerate(questions)
        for turn in question.turns("" if number else f"<{kind}>\n")
    ]
