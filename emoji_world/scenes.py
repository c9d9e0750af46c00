"""What is to be seen in one picture or clip, as data: which character, where, when, how fast."""

import dataclasses

import numpy as np

from demo_world.clip_scenes import full_view_gap
from demo_world.decks import Decks
from emoji_world.cast import Cast

IMAGE_FAMILIES = ("single", "pair", "twins", "group")
CLIP_FAMILIES = ("still", "move", "order", "count", "brief", "moves", "same", "speed")
SIDES = {"left": (0.25, 0.5), "right": (0.75, 0.5), "top": (0.5, 0.25), "bottom": (0.5, 0.75)}
DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
MOST = 4  # of what is counted

Point = tuple[float, float]
_LENGTHS = (24, 60)  # pictures in a clip, of twelve a second
_BRIEF_LENGTHS = (48, 72)
_CELLS = ((0.27, 0.27), (0.73, 0.27), (0.27, 0.73), (0.73, 0.73))


@dataclasses.dataclass(frozen=True)
class Part:
    """One character in a scene.

    code: its code point. side: of its square, in heights of the scene. start, end: (x, y) of its
    centre at the first and the last frame of the scene, in widths and heights. frames: the first
    that shows it, and the first that no longer does. speeds: (frame, speed) from which on its clip
    plays that fast, 0 where it stands still. phase: where its clip begins, in seconds.
    """

    code: int
    side: float
    start: Point
    end: Point
    frames: tuple[int, int]
    speeds: tuple[tuple[int, float], ...] = ((0, 1.0),)
    phase: float = 0.0


@dataclasses.dataclass(frozen=True)
class Scene:
    """A picture (one frame) or a clip. truth: the answer to its family's question; for "pair" with
    the kind that is asked for. background: RGB."""

    family: str
    frames: int
    background: tuple[int, int, int]
    parts: tuple[Part, ...]
    truth: str
    about: str = ""


def sample_image(rng: np.random.Generator, decks: Decks, cast: Cast) -> Scene:
    """One picture. rng: the scene's own; decks: balanced draws of what may be asked about."""
    family = decks.draw("family", IMAGE_FAMILIES)
    build = {"single": _single, "pair": _pair, "twins": _twins, "group": _group}[family]
    parts, truth, about = build(rng, decks, cast)
    return Scene(family, 1, _background(rng), tuple(parts), truth, about)


def sample_clip(rng: np.random.Generator, decks: Decks, cast: Cast) -> Scene:
    """One clip. Its length is drawn before what happens in it, and tells nothing of it."""
    family = decks.draw("family", CLIP_FAMILIES)
    low, high = _BRIEF_LENGTHS if family == "brief" else _LENGTHS
    frames = int(rng.integers(low, high + 1))
    build = {
        "still": _still,
        "move": _move,
        "order": _order,
        "count": _count,
        "brief": _brief,
        "moves": _moves,
        "same": _same,
        "speed": _speed,
    }[family]
    parts, truth = build(rng, decks, cast, frames)
    return Scene(family, frames, _background(rng), tuple(parts), truth)


def _background(rng: np.random.Generator) -> tuple[int, int, int]:
    red, green, blue = (int(level) for level in rng.integers(40, 216, 3))
    return red, green, blue


def _one(rng: np.random.Generator, codes: tuple[int, ...], *others: int) -> int:
    """A character that is none of the others."""
    return int(rng.choice([code for code in codes if code not in others]))


def _near(rng: np.random.Generator, point: Point, by: float = 0.04) -> Point:
    dx, dy = rng.uniform(-by, by, 2)
    return point[0] + float(dx), point[1] + float(dy)


# --- Pictures -------------------------------------------------------------------------------------

_Picture = tuple[list[Part], str, str]


def _picture(rng: np.random.Generator, code: int, side: tuple[float, float], point: Point) -> Part:
    return Part(code, float(rng.uniform(*side)), point, point, (0, 1))


def _single(rng: np.random.Generator, decks: Decks, cast: Cast) -> _Picture:
    kind = decks.draw("single.kind", tuple(cast.stills))
    who = _one(rng, cast.stills[kind])
    return [_picture(rng, who, (0.5, 0.75), _near(rng, (0.5, 0.5), 0.12))], kind, ""


def _pair(rng: np.random.Generator, decks: Decks, cast: Cast) -> _Picture:
    truth = decks.draw("pair.side", tuple(SIDES))
    kind = decks.draw("pair.kind", tuple(cast.stills))
    other = str(rng.choice([each for each in cast.stills if each != kind]))
    opposite = (1 - SIDES[truth][0], 1 - SIDES[truth][1])
    places = ((kind, SIDES[truth]), (other, opposite))
    parts = [
        _picture(rng, _one(rng, cast.stills[each]), (0.38, 0.46), _near(rng, place))
        for each, place in places
    ]
    return parts, truth, kind


def _twins(rng: np.random.Generator, decks: Decks, cast: Cast) -> _Picture:
    truth = decks.draw("twins", ("yes", "no"))
    kind = decks.draw("twins.kind", tuple(cast.stills))
    one = _one(rng, cast.stills[kind])
    other = one if truth == "yes" else _one(rng, cast.stills[kind], one)
    axis = decks.draw("twins.axis", (("left", "right"), ("top", "bottom")))
    parts = [
        _picture(rng, code, (0.36, 0.48), _near(rng, SIDES[side]))
        for code, side in zip((one, other), axis, strict=True)
    ]
    return parts, truth, ""


def _group(rng: np.random.Generator, decks: Decks, cast: Cast) -> _Picture:
    count = decks.draw("group.count", tuple(range(1, MOST + 1)))
    cells = rng.permutation(len(_CELLS))[:count]
    kinds = rng.choice(tuple(cast.stills), count)
    parts = [
        _picture(rng, _one(rng, cast.stills[str(kind)]), (0.3, 0.44), _near(rng, _CELLS[cell]))
        for kind, cell in zip(kinds, cells, strict=True)
    ]
    return parts, str(count), ""


# --- Clips ----------------------------------------------------------------------------------------

_Clip = tuple[list[Part], str]


def _actor(
    rng: np.random.Generator,
    code: int,
    frames: tuple[int, int],
    point: Point | None = None,
    side: tuple[float, float] = (0.6, 0.85),
) -> Part:
    """Somewhere, unless the point is given, and at any moment of its own clip."""
    place = _near(rng, (float(rng.uniform(0.3, 0.7)), 0.5), 0.06) if point is None else point
    phase = float(rng.uniform(0, 3))
    return Part(code, float(rng.uniform(*side)), place, place, frames, phase=phase)


def _still(rng: np.random.Generator, decks: Decks, cast: Cast, frames: int) -> _Clip:
    kind = decks.draw("still.kind", tuple(cast.movers))
    return [_actor(rng, _one(rng, cast.movers[kind]), (0, frames))], kind


def _move(rng: np.random.Generator, decks: Decks, cast: Cast, frames: int) -> _Clip:
    truth = decks.draw("move.direction", tuple(DIRECTIONS))
    kind = str(rng.choice(tuple(cast.movers)))
    part = _actor(rng, _one(rng, cast.movers[kind]), (0, frames), side=(0.45, 0.55))
    (dx, dy), way = DIRECTIONS[truth], float(rng.uniform(0.3, 0.45))
    x, y = _near(rng, (0.5, 0.5), 0.04)
    start, end = ((x + f * dx * way / 2, y + f * dy * way / 2) for f in (-1, 1))
    return [dataclasses.replace(part, start=start, end=end)], truth


def _order(rng: np.random.Generator, decks: Decks, cast: Cast, frames: int) -> _Clip:
    """Three of different kinds, one after the other: the second is asked for."""
    kinds = tuple(cast.movers)
    second = decks.draw("order.second", kinds)
    others = [kind for kind in kinds if kind != second]
    first, third = (str(kind) for kind in rng.choice(others, 2, replace=False))
    cuts = _cuts(rng, frames, 3, max(full_view_gap(frames), round(0.2 * frames)))
    parts = [
        _actor(rng, _one(rng, cast.movers[kind]), span)
        for kind, span in zip((first, second, third), cuts, strict=True)
    ]
    return parts, second


def _count(rng: np.random.Generator, decks: Decks, cast: Cast, frames: int) -> _Clip:
    """One to four different characters, one after the other."""
    count = decks.draw("count", tuple(range(1, MOST + 1)))
    who: list[int] = []
    for _ in range(count):
        kind = str(rng.choice(tuple(cast.movers)))
        who.append(_one(rng, cast.movers[kind], *who))
    cuts = _cuts(rng, frames, count, full_view_gap(frames))
    return [_actor(rng, code, span) for code, span in zip(who, cuts, strict=True)], str(count)


def _brief(rng: np.random.Generator, decks: Decks, cast: Cast, frames: int) -> _Clip:
    """One is there all the time, beside it another for as long as sixteen frames never miss."""
    kind = decks.draw("brief.kind", tuple(cast.movers))
    constant = _one(rng, cast.movers[str(rng.choice(tuple(cast.movers)))])
    event = _one(rng, cast.movers[kind], constant)
    places = [SIDES[side] for side in rng.permutation(["left", "right"])]
    length = full_view_gap(frames)
    start = int(rng.integers(1, frames - length))
    spans = ((0, frames), (start, start + length))
    parts = [
        _actor(rng, code, span, _near(rng, place), (0.5, 0.6))
        for code, span, place in zip((constant, event), spans, places, strict=True)
    ]
    return parts, kind


def _moves(rng: np.random.Generator, decks: Decks, cast: Cast, frames: int) -> _Clip:
    """A lively one whose clip plays, or stands still at some moment of it."""
    truth = decks.draw("moves", ("yes", "no"))
    part = _actor(rng, _one(rng, cast.lively), (0, frames))
    return [dataclasses.replace(part, speeds=((0, 1.0 if truth == "yes" else 0.0),))], truth


def _same(rng: np.random.Generator, decks: Decks, cast: Cast, frames: int) -> _Clip:
    """One, and after it the same one or another of its kind, elsewhere and of another size."""
    truth = decks.draw("same", ("yes", "no"))
    kind = decks.draw("same.kind", tuple(cast.movers))
    one = _one(rng, cast.movers[kind])
    other = one if truth == "yes" else _one(rng, cast.movers[kind], one)
    cuts = _cuts(rng, frames, 2, round(0.35 * frames))
    return [_actor(rng, code, span) for code, span in zip((one, other), cuts, strict=True)], truth


def _speed(rng: np.random.Generator, decks: Decks, cast: Cast, frames: int) -> _Clip:
    """A lively one whose clip plays twice as fast in one half."""
    truth = decks.draw("speed", ("first", "second"))
    fast_first = truth == "first"
    speeds = ((0, 2.0 if fast_first else 1.0), (frames // 2, 1.0 if fast_first else 2.0))
    part = _actor(rng, _one(rng, cast.lively), (0, frames))
    return [dataclasses.replace(part, speeds=speeds)], truth


def _cuts(
    rng: np.random.Generator, frames: int, count: int, shortest: int
) -> list[tuple[int, int]]:
    """The whole clip in `count` parts of at least `shortest` frames."""
    spare = np.sort(rng.integers(0, frames - count * shortest + 1, count - 1))
    inner = [shortest * (number + 1) + int(cut) for number, cut in enumerate(spare)]
    edges = [0, *inner, frames]
    return list(zip(edges[:-1], edges[1:], strict=True))
