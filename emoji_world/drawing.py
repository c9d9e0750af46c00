"""Scenes become pixels: characters over a plain background."""

from collections.abc import Iterator

import cv2
import numpy as np

from emoji_world.assets import RATE, Assets
from emoji_world.scenes import Part, Scene


def draw(scene: Scene, assets: Assets, width: int, height: int) -> Iterator[np.ndarray]:
    """The scene's frames, uint8[H, W, 3] RGB; clips have `RATE` a second."""
    for frame in range(scene.frames):
        canvas = np.full((height, width, 3), scene.background, np.float32)
        for part in scene.parts:
            if part.frames[0] <= frame < part.frames[1]:
                share = frame / max(scene.frames - 1, 1)
                point = [a + (b - a) * share for a, b in zip(part.start, part.end, strict=True)]
                centre = (point[0] * width, point[1] * height)
                source = _source(scene, part, frame, assets)
                _lay(canvas, source, round(part.side * height), centre)
        yield np.clip(np.rint(canvas), 0, 255).astype(np.uint8)


def source_frame(part: Part, frame: int) -> int:
    """Which picture of its own clip, counted on and on, a part shows in a frame of the scene."""
    played = 0.0
    ends = [begin for begin, _ in part.speeds[1:]] + [frame]
    for (begin, speed), end in zip(part.speeds, ends, strict=True):
        played += speed * max(min(end, frame) - begin, 0)
    return int(part.phase * RATE + played)


def _source(scene: Scene, part: Part, frame: int, assets: Assets) -> np.ndarray:
    if scene.frames == 1:
        return assets.stills[part.code]
    loop = assets.loops[part.code]
    return loop[source_frame(part, frame) % len(loop)]


def _lay(canvas: np.ndarray, picture: np.ndarray, side: int, centre: tuple[float, float]) -> None:
    """Lays uint8[S, S, 4], alpha multiplied in, over the canvas, as far as it reaches into it."""
    scaled = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)
    left, top = (round(c - side / 2) for c in centre)
    height, width = canvas.shape[:2]
    rows = slice(max(top, 0), min(top + side, height))
    columns = slice(max(left, 0), min(left + side, width))
    piece = scaled[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    under = canvas[rows, columns]
    canvas[rows, columns] = piece[..., :3] + under * (1 - piece[..., 3:] / 255)
