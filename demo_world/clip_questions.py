"""Questions about clips."""

import numpy as np

from demo_world.decks import Decks
from demo_world.image_scenes import THINGS
from demo_world.questions import NUMBER, Question, caption, choice, short, yes_no
from demo_world.scenes import COLOURS, DIGITS, DIRECTIONS, LAMP_ON, SHAPES, Scene

# What a base model of the demo is judged by: it has seen a few clips, and scores above guessing.
# The others are new skills, asked in files of their own.
JUDGED = ("static_digit", "static_colour", "caption", "appears_first", "brief_event")

# family → (its own kind of question, what training may add, what evaluation adds). With these,
# an evaluation split asks each task equally often.
_KINDS = {
    "still": ("static_digit", ("static_colour",), ("static_colour",)),
    "move": ("direction", ("caption", "static_colour"), ("caption",)),
    "appear": ("appears_first", ("caption", "appears_first_choice"), ("appears_first_choice",)),
    "order": ("order", ("order",), ()),
    "flash": ("count_flashes", ("static_colour",), ()),
    "speed": ("speed", ("static_colour",), ()),
    "brief": ("brief_event", ("static_digit",), ()),
}


def training_questions(scene: Scene, rng: np.random.Generator, decks: Decks) -> list[Question]:
    """Two different questions: the family's own and one that needs other frames or words."""
    own, others, _ = _KINDS[scene.family]
    if own == "order":
        return [ask(scene, kind, rng, decks) for kind in ("order.second", "order.before")]
    other = others[int(rng.integers(len(others)))]
    return [ask(scene, kind, rng, decks) for kind in (own, other)]


def evaluation_questions(scene: Scene, rng: np.random.Generator, decks: Decks) -> list[Question]:
    """The family's own question, and what makes every task of the split equally frequent."""
    own, _, added = _KINDS[scene.family]
    if own == "order":
        # One deck for each answer, so that the answers stay balanced within either kind.
        deck = f"order.kind.{_lamp_colours(scene)[1]}"
        own = decks.draw(deck, ("order.second", "order.before"))
    return [ask(scene, kind, rng, decks) for kind in (own, *added)]


def ask(scene: Scene, kind: str, rng: np.random.Generator, decks: Decks) -> Question:
    """One question about the scene. Raises KeyError for a kind that does not exist."""
    build = {
        "static_digit": _static_digit,
        "static_colour": _static_colour,
        "direction": _direction,
        "caption": _caption,
        "appears_first": _appears_first,
        "appears_first_choice": _appears_first_choice,
        "order.second": _order_second,
        "order.before": _order_before,
        "count_flashes": _count_flashes,
        "speed": _speed,
        "brief_event": _brief_event,
    }[kind]
    return build(scene, rng, decks)


def direction_of(scene: Scene) -> str:
    """left, right, up or down: where the scene's mover goes."""
    (x0, y0), (x1, y1) = (getattr(scene.role("mover").motion, end) for end in ("start", "end"))
    if abs(x1 - x0) > abs(y1 - y0):
        return "left" if x1 < x0 else "right"
    return "up" if y1 < y0 else "down"


def _static_digit(scene: Scene, rng: np.random.Generator, decks: Decks) -> Question:
    digit = next(actor.shape for actor in scene.actors if actor.shape in DIGITS)
    return short(rng, "static_digit", digit, len(DIGITS), NUMBER)


def _static_colour(scene: Scene, rng: np.random.Generator, decks: Decks) -> Question:
    constant = [a for a in scene.actors if len(a.colours) == 1 and a.shape in SHAPES]
    actor = constant[int(rng.integers(len(constant)))]
    return short(rng, "static_colour", actor.colour, len(COLOURS), about=(actor.shape,))


def _direction(scene: Scene, rng: np.random.Generator, decks: Decks) -> Question:
    shape = scene.role("mover").shape
    return short(rng, "direction", direction_of(scene), len(DIRECTIONS), about=(shape,))


def _caption(scene: Scene, rng: np.random.Generator, decks: Decks) -> Question:
    if scene.family == "move":
        name, way = scene.role("mover").name, f"moves {direction_of(scene)}"
        # A fixed caption names the thing in one of 12 clips and the direction in one of 4.
        chance = (1 / len(THINGS) + 1 / len(DIRECTIONS)) / 2
        return caption(rng, "video", f"a {name} {way}", (name, way), chance)
    first, second = sorted(scene.actors, key=lambda actor: actor.first_seen)
    slots = (f"{first.name} appears first", f"then a {second.name}")
    return caption(rng, "video", f"a {slots[0]}, {slots[1]}", slots, 1 / len(THINGS))


def _either(truth: str, other: str, decks: Decks, deck: str) -> tuple[str, str]:
    """The two names in an order that is dealt, so that it says nothing about the answer."""
    return (truth, other) if decks.draw(deck, (True, False)) else (other, truth)


def _appears_first(scene: Scene, rng: np.random.Generator, decks: Decks) -> Question:
    first, second = sorted(scene.actors, key=lambda actor: actor.first_seen)
    about = _either(first.colour, second.colour, decks, "appears_first.words")
    return short(rng, "appears_first", first.colour, 2, about=about)


def _appears_first_choice(scene: Scene, rng: np.random.Generator, decks: Decks) -> Question:
    first, second = sorted(scene.actors, key=lambda actor: actor.first_seen)
    options = (first.name, second.name)
    return choice(rng, decks, "appears_first_choice", first.name, options)


def _lamp_colours(scene: Scene) -> list[str]:
    return [colour for _, colour in scene.role("lamp").colours if colour in COLOURS]


def _order_second(scene: Scene, rng: np.random.Generator, decks: Decks) -> Question:
    about = (scene.role("lamp").shape,)
    second = _lamp_colours(scene)[1]
    return short(rng, "order", second, len(COLOURS), about=about, kind="order.second")


def _order_before(scene: Scene, rng: np.random.Generator, decks: Decks) -> Question:
    earlier, later = decks.draw("order.pair", ((0, 1), (0, 2), (1, 2)))
    truth = decks.draw("order.before", (True, False))
    colours = _lamp_colours(scene)
    pair = (colours[earlier], colours[later]) if truth else (colours[later], colours[earlier])
    return yes_no(rng, "order", truth, pair, kind="order.before")


def _count_flashes(scene: Scene, rng: np.random.Generator, decks: Decks) -> Question:
    flashes = sum(colour == LAMP_ON for _, colour in scene.role("lamp").colours)
    return short(rng, "count_flashes", str(flashes), 4, NUMBER)


def _speed(scene: Scene, rng: np.random.Generator, decks: Decks) -> Question:
    if len(scene.actors) == 1:
        mover = scene.role("mover")
        truth = "faster" if mover.motion.profile == "accelerate" else "slower"
        return short(rng, "speed", truth, 2, about=(mover.shape,), kind="speed.change")
    fast, slow = scene.role("fast"), scene.role("slow")
    about = _either(fast.colour, slow.colour, decks, "speed.words")
    return short(rng, "speed", fast.colour, 2, about=about, kind="speed.race")


def _brief_event(scene: Scene, rng: np.random.Generator, decks: Decks) -> Question:
    event = scene.role("event")
    return short(rng, "brief_event", event.colour, len(COLOURS), about=(event.shape,))
