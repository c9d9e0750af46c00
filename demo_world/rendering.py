"""Draws scenes: plain anti-aliased shapes, the same pixels for the same scene."""

from collections.abc import Iterator

import cv2
import numpy as np

from demo_world.decks import stream
from demo_world.scenes import HIDDEN, Actor, Background, Scene

RGB = {
    "red": (225, 45, 45),
    "green": (50, 190, 75),
    "blue": (60, 105, 245),
    "yellow": (245, 215, 50),
    "grey": (125, 125, 125),
    "white": (250, 250, 250),
}

_SHIFT = 4  # cv2 takes fixed-point coordinates; 1/16 pixel keeps slow motion smooth
_UNIT = 1 << _SHIFT

# Digits as pen strokes in a box of width 1 and height 2, origin top left.
_BOX = {"a": (0, 0), "b": (1, 0), "c": (0, 1), "d": (1, 1), "e": (0, 2), "f": (1, 2)}
_STROKES: dict[str, list[str | tuple[tuple[float, float], ...]]] = {
    "0": ["abfea"],
    "1": [((0.2, 0.35), (0.6, 0.0), (0.6, 2.0))],
    "2": ["abdcef"],
    "3": ["abdfe", "cd"],
    "4": [((0.7, 0.0), (0.0, 1.3), (1.0, 1.3)), ((0.7, 0.7), (0.7, 2.0))],
    "5": ["bacdfe"],
    "6": ["baefdc"],
    "7": [((0.0, 0.0), (1.0, 0.0), (0.35, 2.0))],
    "8": ["abfea", "cd"],
    "9": ["dcabfe"],
}


def draw_background(background: Background, height: int, width: int) -> np.ndarray:
    """uint8[height, width, 3] RGB, softly varying around the background's colour."""
    plane = np.empty((height, width, 3), np.float32)
    plane[:] = background.rgb
    if background.texture:
        grid = stream(background.seed).uniform(-1, 1, (4, 4, 1)).astype(np.float32)
        soft = cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
        plane += background.texture * soft[..., None]
    return np.clip(plane.round(), 0, 255).astype(np.uint8)


def draw_frame(scene: Scene, frame: int, background: np.ndarray) -> np.ndarray:
    """uint8[height, width, 3] RGB of one frame. background: from `draw_background`, not changed."""
    canvas = background.copy()
    for actor in scene.actors:
        colour = actor.colour_at(frame)
        if colour != HIDDEN:
            _draw_actor(canvas, actor, RGB[colour], actor.motion.at(scene.time(frame)))
    return canvas


def draw_image(scene: Scene) -> np.ndarray:
    """uint8[height, width, 3] RGB of a scene's first frame."""
    return draw_frame(scene, 0, draw_background(scene.background, scene.height, scene.width))


def draw_clip(scene: Scene) -> Iterator[np.ndarray]:
    """The frames of a clip in order, each uint8[height, width, 3] RGB.

    Frames that look the same are the same array object, which an encoder may use.
    """
    background = draw_background(scene.background, scene.height, scene.width)
    last_state, last = None, background
    for frame in range(scene.frames):
        time = scene.time(frame)
        state = [(actor.colour_at(frame), actor.motion.at(time)) for actor in scene.actors]
        if state != last_state:
            last_state, last = state, draw_frame(scene, frame, background)
        yield last


def _fixed(value: float) -> int:
    return round(value * _UNIT)


def _draw_actor(
    canvas: np.ndarray, actor: Actor, rgb: tuple[int, int, int], centre: tuple[float, float]
) -> None:
    x, y = centre
    radius = actor.radius
    if actor.shape == "circle":
        point = (_fixed(x), _fixed(y))
        cv2.circle(canvas, point, _fixed(radius), rgb, cv2.FILLED, cv2.LINE_AA, _SHIFT)
    elif actor.shape == "square":
        side = 0.9 * radius
        corners = [(x - side, y - side), (x + side, y - side), (x + side, y + side)]
        _fill(canvas, [*corners, (x - side, y + side)], rgb)
    elif actor.shape == "triangle":
        low, wide = y + 0.9 * radius, 1.1 * radius
        _fill(canvas, [(x, y - radius), (x + wide, low), (x - wide, low)], rgb)
    else:
        _draw_digit(canvas, actor.shape, x, y, radius, rgb)


def _fill(
    canvas: np.ndarray, corners: list[tuple[float, float]], rgb: tuple[int, int, int]
) -> None:
    points = np.array([[_fixed(px), _fixed(py)] for px, py in corners], np.int32)
    cv2.fillConvexPoly(canvas, points, rgb, cv2.LINE_AA, _SHIFT)


def _draw_digit(
    canvas: np.ndarray, digit: str, x: float, y: float, radius: float, rgb: tuple[int, int, int]
) -> None:
    thickness = max(2, round(radius * 0.34))
    half = radius - thickness / 2  # the pen's width stays inside the digit's height
    wide = 0.62 * half
    strokes = []
    for stroke in _STROKES[digit]:
        points = [_BOX[key] if isinstance(key, str) else key for key in stroke]
        path = [[_fixed(x + wide * (2 * u - 1)), _fixed(y + half * (v - 1))] for u, v in points]
        strokes.append(np.array(path, np.int32))
    cv2.polylines(canvas, strokes, False, rgb, thickness, cv2.LINE_AA, _SHIFT)
