"""Questions about scenes. As in the demo world, wordings are drawn on their own and answers are
dealt from decks, so that the words of a question tell nothing about its answer."""

from collections.abc import Sequence

import numpy as np

from demo_world.decks import Decks
from demo_world.questions import LETTER, NUMBER, YES_NO, Question, lettered
from emoji_world.cast import KIND_OF, Cast, name_of
from emoji_world.scenes import DIRECTIONS, MOST, SIDES, Point, Scene

# family → task, wordings, how many answers there are. {} is what the scene is about.
_ASKED: dict[str, tuple[str, tuple[str, ...]]] = {
    "single": ("kind", ("What kind of thing is shown?", "Which kind of thing do you see?")),
    "pair": ("position", ("Where is the {}?", "On which side is the {}?")),
    "twins": ("same", ("Are both objects the same?", "Do you see the same object twice?")),
    "group": ("count", ("How many objects are there?", "How many objects do you see?")),
    "still": ("kind", ("What kind of thing is shown?", "Which kind of thing do you see?")),
    "move": (
        "direction",
        ("Which way does the object move?", "In which direction does the object move?"),
    ),
    "order": ("second", ("What kind of thing comes second?", "Which kind of thing is second?")),
    "count": (
        "count",
        ("How many different objects appear?", "How many different objects come and go?"),
    ),
    "brief": (
        "brief",
        ("What kind of thing appears briefly?", "Which kind of thing is seen for a moment?"),
    ),
    "moves": ("moves", ("Does the object itself move?", "Is the object itself moving?")),
    "same": (
        "same",
        (
            "Is it the same object at the beginning and at the end?",
            "Are the first and the last object the same?",
        ),
    ),
    "speed": (
        "speed",
        ("In which half is the object faster?", "Which half shows the object faster?"),
    ),
}
# What training asks beside: more of a picture for every look at it.
_THERE = ("What kind of thing is {}?", "Which kind of thing is {}?")
_NAMED = ("Which object is shown?", "Which object do you see?")
_OPTIONS = 4
_HALVES = ("first", "second")

# What a base model is judged by, of which it has seen a few clips. The others are asked in files of
# their own: speed, and names, which of a new character only a model of the world can know.
JUDGED = {
    "image": ("kind", "position", "same", "count"),
    "video": ("kind", "direction", "second", "count", "brief", "moves", "same"),
}


def ask(scene: Scene, rng: np.random.Generator, decks: Decks, cast: Cast) -> list[Question]:
    """The family's own question; where one character is alone, after it the one for its name."""
    task, wordings = _ASKED[scene.family]
    own = _asked(scene, task, str(rng.choice(wordings)).format(scene.about), scene.truth, cast)
    return [own, _name(scene, rng, decks, cast)] if task == "kind" else [own]


def ask_more(scene: Scene, rng: np.random.Generator, cast: Cast) -> list[Question]:
    """What training asks about a picture after its own question: kinds, where that question and its
    answer do not tell them."""
    if scene.family == "twins":
        words = str(rng.choice(_ASKED["single"][1]))
        return [_asked(scene, "kind", words, KIND_OF[scene.parts[0].code], cast)]
    parts = {"pair": scene.parts[1:], "group": scene.parts}.get(scene.family, ())
    return [
        _asked(
            scene,
            "kind_there",
            str(rng.choice(_THERE)).format(_place(part.start)),
            KIND_OF[part.code],
            cast,
        )
        for part in parts
    ]


def _place(point: Point) -> str:
    """Where a point of a picture is: "on the left", "at the bottom right"."""
    across = _third(point[0], "left", "right")
    along = _third(point[1], "top", "bottom")
    return f"at the {along} {across}".rstrip() if along else f"on the {across}"


def _third(share: float, low: str, high: str) -> str:
    return low if share < 0.4 else high if share > 0.6 else ""


def _asked(scene: Scene, task: str, words: str, truth: str, cast: Cast) -> Question:
    hint, answers = _answers(scene, task, cast)
    form = "yes_no" if hint == YES_NO else "short"
    about = (scene.about,) if scene.about else ()
    return Question(task, form, f"{words}\n{hint}", truth, truth, about, 1 / answers)


def _answers(scene: Scene, task: str, cast: Cast) -> tuple[str, int]:
    """What the question says of the form of its answer, and how many answers there are."""
    if task == "count":
        return NUMBER, MOST
    if task in ("same", "moves"):
        return YES_NO, 2
    kinds = cast.stills if scene.frames == 1 else cast.movers
    options: Sequence[str] = {
        "position": tuple(SIDES),
        "direction": tuple(DIRECTIONS),
        "speed": _HALVES,
    }.get(task, tuple(kinds))
    return f"Answer with {', '.join(options[:-1])} or {options[-1]}.", len(options)


def _name(scene: Scene, rng: np.random.Generator, decks: Decks, cast: Cast) -> Question:
    """Which of four of its kind, and of its side of the split, it is."""
    (part,) = scene.parts
    codes = (cast.stills if scene.frames == 1 else cast.movers)[KIND_OF[part.code]]
    others = rng.permutation([code for code in codes if code != part.code])[: _OPTIONS - 1]
    names = [name_of(part.code), *(name_of(int(code)) for code in others)]
    letter, choices = lettered(rng, decks, "name", names[0], names)
    listed = "\n".join(f"{key}. {option}" for key, option in choices.items())
    text = f"{str(rng.choice(_NAMED))}\n{listed}\n{LETTER}"
    return Question("name", "choice", text, letter, names[0], (), 1 / _OPTIONS, choices)
