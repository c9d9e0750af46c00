"""A folder or list of pictures as a video."""

import contextlib
import dataclasses
import os
import re
from collections.abc import Iterator

import numpy as np

from input_pipeline.media import bounds
from input_pipeline.media.archives import folder_in_archive
from input_pipeline.media.errors import MediaError
from input_pipeline.media.images import load_image, read_image
from input_pipeline.media.resizing import Resizing, resize
from input_pipeline.media.sources import is_local
from input_pipeline.media.video.timeline import Choose, Timeline, check_enough
from input_pipeline.paths import in_archive, in_frame_list

DEFAULT_FPS = 1.0
_LEAST_FPS, _MOST_FPS = 1 / bounds.MAX_DURATION_S, 1000
PICTURE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


@dataclasses.dataclass(frozen=True)
class FrameFolder:
    """The pictures of a clip as files: of a folder in the natural order of their names ("9" before
    "10").

    times: seconds from the first, one for each file. interval: between two, seconds.
    """

    files: tuple[str, ...]
    times: tuple[float, ...]
    interval: float


def is_frame_folder(path: str) -> bool:
    """Whether the source is a list of pictures, or a folder, here or in an archive, with or without
    a frame rate."""
    if in_frame_list(path):
        return True
    if in_archive(path):
        # A member is asked for by its name; only a folder may have a rate.
        return "?fps=" in path or bool(folder_in_archive(path))
    return is_local(path) and os.path.isdir(_split_rate(path)[0])


def frame_folder(path: str) -> FrameFolder:
    """The pictures of a list, or of a frame folder: its files with the endings of pictures, but for
    hidden ones.

    path: of `paths.frame_list`, or "<folder>" or "<folder>?fps=<frames a second>".
    Raises MediaError.
    """
    if listed := in_frame_list(path):
        files, seconds = listed
        bounds.check_frame_count(path, len(files))
        times = tuple(each - seconds[0] for each in seconds)
        interval = times[-1] / (len(times) - 1) if len(times) > 1 else 1 / DEFAULT_FPS
        return FrameFolder(tuple(files), times, interval)
    folder, fps = _split_rate(path)
    try:
        inside = folder_in_archive(folder) if in_archive(folder) else os.listdir(folder)
    except OSError as error:
        raise MediaError(path, "unreadable", str(error)) from error
    names = [name for name in inside if _is_picture_name(name)]
    if not names:
        raise MediaError(path, "no_frames", f"a folder without {PICTURE_ENDINGS} files")
    bounds.check_frame_count(path, len(names))
    names.sort(key=natural_order)
    times = tuple(place / fps for place in range(len(names)))
    return FrameFolder(tuple(os.path.join(folder, name) for name in names), times, 1 / fps)


def natural_order(name: str) -> list[tuple[int, str]]:
    """Sort key that reads runs of digits as numbers."""
    pieces = re.split(r"(\d+)", name)
    return [(int(p), p) if p.isdecimal() and p.isascii() else (-1, p) for p in pieces]


def folder_size(path: str, folder: FrameFolder) -> tuple[int, int]:
    """(width, height) in pixels of the first picture, which all others are shown at.

    Raises MediaError.
    """
    with _in_folder(path, folder.files[0]):
        width, height = load_image(folder.files[0])[1].displayed_size
    bounds.check_frame_pixels(path, width, height)
    return width, height


def read_folder(path: str, choose: Choose, resizing: Resizing) -> np.ndarray:
    """The frames that `choose` picks -> uint8[F, H, W, 3]. Raises MediaError."""
    folder = frame_folder(path)
    width, height = folder_size(path, folder)
    count = len(folder.files)
    wanted = choose(Timeline(lambda: folder.times, range(count)))
    check_enough(path, count, max(wanted))
    frames: dict[int, np.ndarray] = {}
    for index in set(wanted):
        with _in_folder(path, folder.files[index]):
            picture = read_image(folder.files[index])
        bounds.check_frame_pixels(path, picture.shape[1], picture.shape[0])
        frames[index] = resizing(resize(picture, height, width))
    return np.stack([frames[index] for index in wanted])


@contextlib.contextmanager
def _in_folder(path: str, file: str) -> Iterator[None]:
    """What goes wrong with a file of a frame folder is the folder's fault; of a list, its own."""
    try:
        yield
    except MediaError as error:
        if in_frame_list(path):
            raise
        raise MediaError(path, error.reason, f"{os.path.basename(file)}: {error.detail}") from error


def _is_picture_name(name: str) -> bool:
    return name.lower().endswith(PICTURE_ENDINGS) and not name.startswith(".")


def _split_rate(path: str) -> tuple[str, float]:
    folder, mark, rate = path.rpartition("?fps=")
    if not mark:
        return path, DEFAULT_FPS
    try:
        fps = float(rate)
    except ValueError:
        fps = 0.0
    if not _LEAST_FPS <= fps <= _MOST_FPS:
        wanted = f"wanted a number from {_LEAST_FPS:.1g} to {_MOST_FPS}"
        raise MediaError(path, "bad_source", f"fps={rate}: {wanted}")
    return folder, fps
