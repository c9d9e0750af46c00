"""Questions about image scenes."""

from collections.abc import Sequence

import numpy as np

from demo_world.decks import Decks
from demo_world.image_scenes import THINGS
from demo_world.questions import NUMBER, Question, caption, choice, short, yes_no
from demo_world.scenes import DIGITS, OPPOSITE, SIDES, Actor, Scene

# What a base model of the demo is judged by, see clip_questions.
JUDGED = ("digit", "colour", "position", "count", "small_colour")

# Of pictures that are told: digits of a text were not learned by the small form's base.
JUDGED_TOLD = tuple(task for task in JUDGED if task != "digit")

_MOST = 4  # questions in one conversation
_TRAINING = {
    "digit": ("digit", "colour", "position", "position_choice", "exists", "caption"),
    "group": ("count", "exists", "caption"),
    "pair": ("small_colour", "larger", "position", "exists", "caption"),
}
_EVALUATION = {
    "digit": ("digit", "colour", "position", "position_choice"),
    "group": ("count", "exists"),
    "pair": ("small_colour", "larger", "caption"),
}
_PLACE = {"left": "on the left", "right": "on the right", "top": "at the top"}
_PLACE["bottom"] = "at the bottom"


def training_questions(scene: Scene, rng: np.random.Generator, decks: Decks) -> list[Question]:
    """Up to four questions in random order, or a caption alone in one image of three.

    Captions say most about a picture in one answer. They come last, since they give other answers
    away, and alone, since that is how evaluation asks for them.
    """
    tasks = rng.permutation(_TRAINING[scene.family]).tolist()[:_MOST]
    tasks.sort(key=lambda task: task == "caption")
    if decks.draw(f"caption.alone.{scene.family}", (True, False, False)):
        tasks = ["caption"]
    return [ask(scene, task, rng, decks) for task in tasks]


def evaluation_questions(scene: Scene, rng: np.random.Generator, decks: Decks) -> list[Question]:
    """The questions of the scene's family; a split asks every task equally often."""
    return [ask(scene, task, rng, decks) for task in _EVALUATION[scene.family]]


def told_questions(
    scene: Scene, split: str, rng: np.random.Generator, decks: Decks
) -> list[Question]:
    """Questions about a picture that is told in words and not shown: up to four that training has,
    in random order, or in evaluation those that a base model is judged by."""
    if split == "train":
        tasks = [task for task in _TRAINING[scene.family] if task != "caption"]
        tasks = rng.permutation(tasks).tolist()[:_MOST]
    else:
        tasks = [task for task in _EVALUATION[scene.family] if task in JUDGED_TOLD]
    return [ask(scene, task, rng, decks) for task in tasks]


def ask(scene: Scene, task: str, rng: np.random.Generator, decks: Decks) -> Question:
    """One question of `task` about the scene. Raises KeyError for a task that does not exist."""
    build = {
        "digit": _digit,
        "colour": _colour,
        "small_colour": _small_colour,
        "count": _count,
        "position": _position,
        "position_choice": _position_choice,
        "larger": _larger,
        "exists": _exists,
        "caption": _caption,
    }[task]
    return build(scene, rng, decks)


def _digit(scene: Scene, rng: np.random.Generator, decks: Decks) -> Question:
    digit = next(actor.shape for actor in scene.actors if actor.shape in DIGITS)
    return short(rng, "digit", digit, len(DIGITS), NUMBER)


def _colour(scene: Scene, rng: np.random.Generator, decks: Decks) -> Question:
    thing = next(actor for actor in scene.actors if actor.shape not in DIGITS)
    return short(rng, "colour", thing.colour, 4, about=(thing.shape,))


def _small_colour(scene: Scene, rng: np.random.Generator, decks: Decks) -> Question:
    small = min(scene.actors, key=lambda actor: actor.radius)
    return short(rng, "small_colour", small.colour, 4)


def _count(scene: Scene, rng: np.random.Generator, decks: Decks) -> Question:
    return short(rng, "count", str(len(scene.actors)), 4, NUMBER)


def side_of(actor: Actor, scene: Scene) -> str:
    """Which side of the picture an actor is nearest to, of the axis along which two are apart."""
    x, y = actor.motion.start
    across, along = x / scene.width - 0.5, y / scene.height - 0.5
    if abs(across) > abs(along):
        return "left" if across < 0 else "right"
    return "top" if along < 0 else "bottom"


def _placed(scene: Scene, kind: str, decks: Decks) -> tuple[str, str]:
    """A side that is dealt, and the name of what is there."""
    sides = {side_of(actor, scene): actor for actor in scene.actors}
    ends = ("left", "right") if "left" in sides else ("top", "bottom")
    truth = decks.draw(f"{kind}.side.{ends[0]}", ends)
    return truth, "digit" if sides[truth].shape in DIGITS else sides[truth].name


def _position(scene: Scene, rng: np.random.Generator, decks: Decks) -> Question:
    truth, name = _placed(scene, "position", decks)
    return short(rng, "position", truth, len(SIDES), about=(name,))


def _position_choice(scene: Scene, rng: np.random.Generator, decks: Decks) -> Question:
    truth, name = _placed(scene, "position_choice", decks)
    return choice(rng, decks, "position_choice", truth, SIDES, (name,))


def _larger(scene: Scene, rng: np.random.Generator, decks: Decks) -> Question:
    small, large = sorted(scene.actors, key=lambda actor: actor.radius)
    truth = decks.draw("larger", (True, False))
    pair = (large, small) if truth else (small, large)
    return yes_no(rng, "larger", truth, [actor.colour for actor in pair])


def _exists(scene: Scene, rng: np.random.Generator, decks: Decks) -> Question:
    truth = decks.draw(f"exists.{scene.family}", (True, False))
    present = [(a.colour, a.shape) for a in scene.actors if a.shape not in DIGITS]
    if truth:
        pool: Sequence[tuple[str, str]] = present
    else:
        # Absent things that share a colour or a shape with what is there: both must be looked at.
        pool = [
            (colour, shape)
            for colour, shape in THINGS
            if (colour, shape) not in present
            and any((colour == c) != (shape == s) for c, s in present)
        ]
    colour, shape = pool[int(rng.integers(len(pool)))]
    return yes_no(rng, "exists", truth, (f"{colour} {shape}",))


def _caption(scene: Scene, rng: np.random.Generator, decks: Decks) -> Question:
    # A fixed caption names one of twelve things: it gets 1/12 of the slots.
    return caption(rng, "image", *in_words(scene), 1 / len(THINGS))


def in_words(scene: Scene) -> tuple[str, list[str]]:
    """What a picture shows, such as "a small red circle on the left and a large blue square on the
    right"; and the things in it."""
    if scene.family == "group":
        names = [f"a {actor.name}" for actor in _reading_order(scene)]
        return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]])), names
    places = {side_of(actor, scene): actor for actor in scene.actors}
    first = "left" if "left" in places else "top"
    ordered = [(side, places[side]) for side in (first, OPPOSITE[first])]
    sized = scene.family == "pair"
    slots = [f"{actor.role} {actor.name}" if sized else actor.name for _, actor in ordered]
    sentence = " and ".join(
        f"a {slot} {_PLACE[side]}" for slot, (side, _) in zip(slots, ordered, strict=True)
    )
    return sentence, slots


def _reading_order(scene: Scene) -> list[Actor]:
    """A group's actors row by row, each row from left to right."""
    rows = 2 if scene.width >= scene.height else 3

    def place(actor: Actor) -> tuple[int, float]:
        x, y = actor.motion.start
        return int(y / scene.height * rows), x

    return sorted(scene.actors, key=place)
