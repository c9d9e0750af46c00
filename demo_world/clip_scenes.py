"""Draws the parameters of clips, one function a family. All times are in frames.

Whatever happens in a clip lasts at least as long as the widest gap between
`FULL_VIEW_FRAMES` uniform frames, so that many frames always show it.
"""

import numpy as np

from demo_world.decks import Decks
from demo_world.image_scenes import sample_background, side_centre
from demo_world.scenes import (
    COLOURS,
    DIGIT_COLOUR,
    DIGITS,
    DIRECTIONS,
    FULL_VIEW_FRAMES,
    HIDDEN,
    LAMP_OFF,
    LAMP_ON,
    OPPOSITE,
    SHAPES,
    SIDES,
    Actor,
    Motion,
    Scene,
    still_actor,
)

CLIP_SIZES = ((128, 128), (144, 96))  # width, height in pixels
FRAME_RATES = (8, 10, 12, 16)  # frames a second
SECONDS = (2.0, 8.0)
FAMILIES = ("still", "move", "appear", "order", "flash", "speed", "brief")

# Frames in a clip. A flash that lasts two or three frames is caught by 16 frames only in clips
# of up to 46; a brief event is brief against a long clip.
_LENGTHS = {"flash": (24, 46), "brief": (64, 96), "order": (32, 72), "speed": (32, 72)}
_ANY_LENGTH = (24, 72)


def uniform_frames(frames: int, count: int) -> np.ndarray:
    """int[n]: `count` frames spread evenly over a clip, both ends included, at most all of it."""
    return np.round(np.linspace(0, frames - 1, min(count, frames))).astype(int)


def full_view_gap(frames: int) -> int:
    """The widest step, in frames, between neighbours of a full view of a clip."""
    return int(np.diff(uniform_frames(frames, FULL_VIEW_FRAMES)).max())


def sample_clip(rng: np.random.Generator, decks: Decks) -> Scene:
    """One clip. rng: the scene's own; decks: balanced draws of what may be asked about."""
    width, height = decks.draw("clip.size", CLIP_SIZES)
    family = decks.draw("clip.family", FAMILIES)
    low, high = _LENGTHS.get(family, _ANY_LENGTH)
    frames = int(rng.integers(low, high + 1))
    fps = int(rng.choice([r for r in FRAME_RATES if SECONDS[0] <= frames / r <= SECONDS[1]]))
    build = {
        "still": _still,
        "move": _move,
        "appear": _appear,
        "order": _order,
        "flash": _flash,
        "speed": _speed,
        "brief": _brief,
    }[family]
    actors = build(rng, decks, width, height, frames)
    return Scene(family, width, height, frames, fps, sample_background(rng), tuple(actors))


def _still(
    rng: np.random.Generator, decks: Decks, width: int, height: int, frames: int
) -> list[Actor]:
    side = decks.draw("still.side", SIDES[:2])
    digit = decks.draw("still.digit", DIGITS)
    colour = decks.draw("still.colour", COLOURS)
    radius = float(rng.uniform(0.3, 0.33) * height)
    beside = side_centre(rng, OPPOSITE[side], width, height)
    return [
        still_actor(digit, DIGIT_COLOUR, radius, side_centre(rng, side, width, height, 0.015)),
        still_actor(str(rng.choice(SHAPES)), colour, float(rng.uniform(14, 20)), beside),
    ]


def _travel(
    rng: np.random.Generator,
    direction: str,
    radius: float,
    box: tuple[float, float, float, float],
    share: tuple[float, float],
    profile: str = "linear",
) -> Motion:
    """A straight way inside box (x0, y0, x1, y1); share: (low, high) of the room that it covers."""
    x0, y0, x1, y1 = box
    low = np.array([x0 + 1.15 * radius, y0 + 1.05 * radius])
    high = np.array([x1 - 1.15 * radius, y1 - 1.05 * radius])
    axis = 0 if direction in ("left", "right") else 1
    start = rng.uniform(low, high)
    way = rng.uniform(*share) * (high[axis] - low[axis])
    start[axis] = rng.uniform(low[axis], high[axis] - way)
    end = start.copy()
    end[axis] += way
    if direction in ("left", "up"):
        start, end = end, start
    return Motion(tuple(start.tolist()), tuple(end.tolist()), profile)


def _move(
    rng: np.random.Generator, decks: Decks, width: int, height: int, frames: int
) -> list[Actor]:
    direction = decks.draw("move.direction", DIRECTIONS)
    colour = decks.draw("move.colour", COLOURS)
    radius = float(rng.uniform(15, 19))
    motion = _travel(rng, direction, radius, (0, 0, width, height), (0.4, 0.7))
    return [Actor(str(rng.choice(SHAPES)), radius, motion, ((0, colour),), "mover")]


def _appear(
    rng: np.random.Generator, decks: Decks, width: int, height: int, frames: int
) -> list[Actor]:
    first_side = decks.draw("appear.side", SIDES)
    first_colour = decks.draw("appear.colour", COLOURS)
    other_colour = str(rng.choice([colour for colour in COLOURS if colour != first_colour]))
    # One frame in three to one in ten lies between the two, and both are gone in frame 0.
    gap = max(full_view_gap(frames), round(float(rng.uniform(0.1, 0.33)) * frames))
    first = int(rng.integers(1, frames - gap))
    actors = []
    for side, colour, start in (
        (first_side, first_colour, first),
        (OPPOSITE[first_side], other_colour, first + gap),
    ):
        centre = side_centre(rng, side, width, height)
        motion = Motion(centre, centre)
        colours = ((0, HIDDEN), (start, colour))
        actors.append(Actor(str(rng.choice(SHAPES)), float(rng.uniform(16, 20)), motion, colours))
    return actors


def _order(
    rng: np.random.Generator, decks: Decks, width: int, height: int, frames: int
) -> list[Actor]:
    second = decks.draw("order.second", COLOURS)
    others = [colour for colour in COLOURS if colour != second]
    first, third = rng.permutation(others)[:2].tolist()
    shortest = full_view_gap(frames)
    lengths = [max(shortest, round(float(rng.uniform(0.12, 0.26)) * frames)) for _ in range(3)]
    lead = int(rng.integers(1, frames - sum(lengths)))
    starts = np.cumsum([lead, *lengths]).tolist()
    colours = ((0, LAMP_OFF), *zip(starts, (first, second, third, LAMP_OFF), strict=True))
    radius = float(rng.uniform(0.2, 0.27) * height)
    centre = (width * float(rng.uniform(0.4, 0.6)), height * float(rng.uniform(0.42, 0.58)))
    return [Actor(str(rng.choice(SHAPES)), radius, Motion(centre, centre), colours, "lamp")]


def _flash(
    rng: np.random.Generator, decks: Decks, width: int, height: int, frames: int
) -> list[Actor]:
    count = decks.draw("flash.count", (1, 2, 3, 4))
    length = full_view_gap(frames)
    # Dark at both ends and for at least one gap between flashes, the spare frames anywhere.
    spare = frames - 2 - (2 * count - 1) * length
    cuts = np.sort(rng.integers(0, spare + 1, count)).tolist()
    colours = [(0, LAMP_OFF)]
    for number, cut in enumerate(cuts):
        start = 1 + cut + 2 * number * length
        colours += [(start, LAMP_ON), (start + length, LAMP_OFF)]
    side = decks.draw("flash.side", SIDES[:2])
    lamp = side_centre(rng, side, width, height)
    centre = side_centre(rng, OPPOSITE[side], width, height)
    shape = str(rng.choice(["circle", "triangle"]))
    colour = decks.draw("flash.colour", COLOURS)
    return [
        Actor("square", float(rng.uniform(18, 23)), Motion(lamp, lamp), tuple(colours), "lamp"),
        still_actor(shape, colour, float(rng.uniform(15, 19)), centre, "bystander"),
    ]


def _speed(
    rng: np.random.Generator, decks: Decks, width: int, height: int, frames: int
) -> list[Actor]:
    if decks.draw("speed.kind", ("change", "race")) == "change":
        profile = decks.draw("speed.profile", ("accelerate", "decelerate"))
        direction = decks.draw("speed.direction", DIRECTIONS)
        colour = decks.draw("speed.colour", COLOURS)
        radius = float(rng.uniform(12, 15))
        motion = _travel(rng, direction, radius, (0, 0, width, height), (0.8, 1.0), profile)
        return [Actor(str(rng.choice(SHAPES)), radius, motion, ((0, colour),), "mover")]
    fast_lane = decks.draw("speed.lane", ("top", "bottom"))
    fast_colour = decks.draw("speed.fast", COLOURS)
    slow_colour = str(rng.choice([colour for colour in COLOURS if colour != fast_colour]))
    fast_shape, slow_shape = rng.permutation(SHAPES)[:2].tolist()
    actors = []
    for role, colour, shape, lane, trips in (
        ("fast", fast_colour, fast_shape, fast_lane, rng.uniform(3, 5)),
        ("slow", slow_colour, slow_shape, OPPOSITE[fast_lane], rng.uniform(0.8, 1.4)),
    ):
        radius = float(rng.uniform(13, 16))
        y = height * (0.26 if lane == "top" else 0.74)
        left, right = (1.2 * radius, y), (width - 1.2 * radius, y)
        motion = Motion(left, right, "bounce", float(trips), float(rng.uniform(0, 2)))
        actors.append(Actor(shape, radius, motion, ((0, colour),), role))
    return actors


def _brief(
    rng: np.random.Generator, decks: Decks, width: int, height: int, frames: int
) -> list[Actor]:
    event_side = decks.draw("brief.side", SIDES[:2])
    event_colour = decks.draw("brief.event", COLOURS)
    digit = decks.draw("brief.digit", DIGITS)
    event_shape = str(rng.choice(SHAPES))
    length = full_view_gap(frames)
    start = int(rng.integers(1, frames - length))
    colours = ((0, HIDDEN), (start, event_colour), (start + length, HIDDEN))
    centre = side_centre(rng, event_side, width, height)
    half = (width / 2, 0, width, height) if event_side == "left" else (0, 0, width / 2, height)
    radius = float(rng.uniform(22, 26))
    motion = _travel(rng, str(rng.choice(DIRECTIONS[2:])), radius, half, (0.5, 1.0))
    return [
        # No colour of its own: whoever has not seen the event has nothing to name.
        Actor(digit, radius, motion, ((0, DIGIT_COLOUR),), "mover"),
        Actor(event_shape, float(rng.uniform(18, 22)), Motion(centre, centre), colours, "event"),
    ]
