"""An animated WebP or PNG as a video, read by Pillow: FFmpeg does not read the one, and shows the
other without its transparency."""

import io
from typing import TYPE_CHECKING

import numpy as np

from input_pipeline.media import bounds
from input_pipeline.media.images import (
    START_BYTES,
    ImageHeader,
    image_format,
    load_image,
    open_lazily,
    pillow_errors,
    to_rgb,
)
from input_pipeline.media.resizing import Resizing
from input_pipeline.media.sources import open_source
from input_pipeline.media.video.timeline import Choose, Timeline, check_enough

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

_FORMATS = frozenset({"png", "webp"})
_UNTOLD_S = 0.1  # how long a picture is shown that says 0, as by browsers


def is_animation(path: str) -> bool:
    """Whether the file is a WebP or PNG of several pictures. Raises MediaError."""
    with open_source(path, bounds.MAX_VIDEO_BYTES) as file:
        known = image_format(file.read(START_BYTES)) in _FORMATS
    return known and getattr(_opened(path)[0], "is_animated", False)


def animation_facts(path: str) -> tuple[tuple[int, int], list[float]]:
    """((width, height) in pixels, times in seconds of all pictures). Raises MediaError."""
    image, header = _opened(path)
    times = [0.0]
    with pillow_errors(path, f"the {header.format} animation is damaged"):
        for number in _pictures(image):
            image.seek(number)
            image.load()  # WebP tells its times when it is decoded
            times.append(times[-1] + (image.info.get("duration", 0) / 1000 or _UNTOLD_S))
    return header.displayed_size, times[:-1]


def read_animation(path: str, choose: Choose, resizing: Resizing) -> np.ndarray:
    """The frames that `choose` picks -> uint8[F, H, W, 3], transparency over white.

    Raises MediaError.
    """
    image, header = _opened(path)
    pictures = _pictures(image)
    wanted = choose(Timeline(lambda: animation_facts(path)[1]))
    check_enough(path, len(pictures), max(wanted))
    frames: dict[int, np.ndarray] = {}
    with pillow_errors(path, f"the {header.format} animation is damaged"):
        for index in range(max(wanted) + 1):  # each is drawn over those before it
            image.seek(pictures[index])
            image.load()
            if index in wanted:
                frames[index] = resizing(header.upright(to_rgb(np.asarray(image.convert("RGBA")))))
    return np.stack([frames[index] for index in wanted])


def _opened(path: str) -> "tuple[ImageFile, ImageHeader]":
    data, header = load_image(path)
    bounds.check_frame_pixels(path, header.width, header.height)
    image = open_lazily(path, header.format, io.BytesIO(data))
    bounds.check_frame_count(path, getattr(image, "n_frames", 1))
    return image, header


def _pictures(image: "ImageFile") -> range:
    """The pictures of the animation by Pillow's numbers: a PNG may have one for viewers that show
    no animations."""
    return range(int(getattr(image, "default_image", False)), getattr(image, "n_frames", 1))
