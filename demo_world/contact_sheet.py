"""A picture of some scenes and their questions, to look at."""

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from demo_world.clip_scenes import uniform_frames
from demo_world.encoding import write_image
from demo_world.questions import Question
from demo_world.rendering import draw_clip, draw_image
from demo_world.scenes import Scene

_COLUMNS = 8  # pictures in a row: eight images, or eight frames of one clip
_CELL = 146
_SMALL_SIDE = 56  # clips are shown as small as a training run may make them
_LINE = 15
_IMAGES, _CLIPS = 24, 21

# (kind, split, seed, count) -> scenes with their questions.
_Scenes = Callable[[str, str, int, int], Iterator[tuple[Scene, list[Question]]]]


def write_contact_sheet(path: Path, seed: int, iter_scenes: _Scenes) -> None:
    """Writes a PNG of the first training images (as stored) and clips (at 56 pixels, enlarged)."""
    cells = []
    for scene, questions in iter_scenes("image", "train", seed, _IMAGES):
        lines = [f"{q.text.splitlines()[0]} {q.answer}" for q in questions]
        lines = [line for text in lines for line in _wrap(text)]
        cells.append(np.vstack([_fit(draw_image(scene), 1), _text(lines[:9], _CELL, 9)]))
    rows = [np.hstack(cells[i : i + _COLUMNS]) for i in range(0, _IMAGES, _COLUMNS)]
    for scene, questions in iter_scenes("video", "train", seed, _CLIPS):
        frames = list(draw_clip(scene))
        shown = [frames[index] for index in uniform_frames(scene.frames, _COLUMNS)]
        scale = _SMALL_SIDE / min(scene.height, scene.width)
        small = [
            cv2.resize(f, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) for f in shown
        ]
        about = f"{scene.family}, {scene.frames} frames at {scene.fps}/s: "
        line = about + "  |  ".join(f"{q.text} {q.answer}".replace("\n", " ") for q in questions)
        rows += [np.hstack([_fit(f, 1.7) for f in small]), _text([line], _COLUMNS * _CELL, 1)]
    sheet = np.vstack(rows)
    write_image(path, sheet, "png")


def _wrap(text: str, width: int = 24) -> list[str]:
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) >= width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def _fit(picture: np.ndarray, scale: float) -> np.ndarray:
    """The enlarged picture in the middle of a square cell."""
    picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)
    cell = np.full((_CELL, _CELL, 3), 255, np.uint8)
    height, width = picture.shape[:2]
    top, left = (_CELL - height) // 2, (_CELL - width) // 2
    cell[top : top + height, left : left + width] = picture
    return cell


def _text(lines: list[str], width: int, most: int) -> np.ndarray:
    strip = np.full((most * _LINE + 6, width, 3), 255, np.uint8)
    for number, line in enumerate(lines):
        origin = (4, _LINE * (number + 1) - 3)
        cv2.putText(strip, line, origin, cv2.FONT_HERSHEY_SIMPLEX, 0.33, (0, 0, 0), 1, cv2.LINE_AA)
    return strip
