"""Draws the parameters of image scenes: digits, pairs of a small and a large object, groups."""

import itertools

import numpy as np

from demo_world.decks import Decks
from demo_world.scenes import (
    COLOURS,
    DIGIT_COLOUR,
    DIGITS,
    OPPOSITE,
    SHAPES,
    SIDES,
    Actor,
    Background,
    Scene,
    still_actor,
)

IMAGE_SIZES = ((112, 112), (140, 84), (84, 140))  # width, height in pixels
FAMILIES = ("digit", "group", "pair")
THINGS = tuple(itertools.product(COLOURS, SHAPES))


def sample_background(rng: np.random.Generator) -> Background:
    """A dark background, flat or softly textured with equal chance."""
    level = int(rng.integers(18, 80))
    red, green, blue = (int(level + tint) for tint in rng.integers(-10, 11, 3))
    texture = 0.0 if rng.random() < 0.5 else float(rng.uniform(4, 14))
    return Background((red, green, blue), texture, int(rng.integers(1 << 31)))


def side_centre(
    rng: np.random.Generator, side: str, width: int, height: int, jitter: float = 0.04
) -> tuple[float, float]:
    """A point (x, y) in pixels about a quarter of the picture away from `side`."""
    across, along = {"left": (0.25, 0.5), "right": (0.75, 0.5)}.get(side, (0.5, 0.25))
    if side == "bottom":
        along = 0.75
    dx, dy = rng.uniform(-jitter, jitter, 2)
    return float((across + dx) * width), float((along + dy) * height)


def sample_image(rng: np.random.Generator, decks: Decks) -> Scene:
    """One image scene. rng: the scene's own; decks: balanced draws of what may be asked about."""
    width, height = decks.draw("image.size", IMAGE_SIZES)
    family = decks.draw("image.family", FAMILIES)
    build = {"digit": _digit, "group": _group, "pair": _pair}[family]
    actors = build(rng, decks, width, height)
    return Scene(family, width, height, 1, 0, sample_background(rng), tuple(actors))


def _digit(rng: np.random.Generator, decks: Decks, width: int, height: int) -> list[Actor]:
    side = decks.draw("digit.side", SIDES)
    digit = decks.draw("digit.digit", DIGITS)
    colour = decks.draw("digit.colour", COLOURS)
    thing = (str(rng.choice(SHAPES)), colour, float(rng.uniform(9, 16)))
    digit_centre = side_centre(rng, side, width, height, 0.015)
    other = OPPOSITE[side]
    return [
        still_actor(digit, DIGIT_COLOUR, float(rng.uniform(18, 19.5)), digit_centre, side),
        still_actor(*thing, side_centre(rng, other, width, height), other),
    ]


def _pair(rng: np.random.Generator, decks: Decks, width: int, height: int) -> list[Actor]:
    axis = decks.draw("pair.axis", (("left", "right"), ("top", "bottom")))
    small_side = decks.draw(f"pair.small.{axis[0]}", axis)
    small_colour = decks.draw("pair.colour", COLOURS)
    large_colour = str(rng.choice([colour for colour in COLOURS if colour != small_colour]))
    sizes = {"small": rng.uniform(8, 10), "large": rng.uniform(16, 18.5)}
    sides = {"small": small_side, "large": OPPOSITE[small_side]}
    colours = {"small": small_colour, "large": large_colour}
    return [
        still_actor(
            str(rng.choice(SHAPES)),
            colours[role],
            float(sizes[role]),
            side_centre(rng, sides[role], width, height, 0.03),
            role,
        )
        for role in ("small", "large")
    ]


def _group(rng: np.random.Generator, decks: Decks, width: int, height: int) -> list[Actor]:
    count = decks.draw("group.count", (1, 2, 3, 4))
    columns, rows = (2, 2) if width == height else (3, 2) if width > height else (2, 3)
    cell_width, cell_height = width / columns, height / rows
    cells = rng.permutation(columns * rows)[:count].tolist()
    things = rng.permutation(len(THINGS))[:count].tolist()
    actors = []
    for cell, thing in zip(cells, things, strict=True):
        colour, shape = THINGS[thing]
        radius = float(rng.uniform(9, 14))
        slack_x, slack_y = cell_width / 2 - 1.15 * radius, cell_height / 2 - radius
        x = (cell % columns + 0.5) * cell_width + rng.uniform(-slack_x, slack_x)
        y = (cell // columns + 0.5) * cell_height + rng.uniform(-slack_y, slack_y)
        actors.append(still_actor(shape, colour, radius, (float(x), float(y))))
    return actors
