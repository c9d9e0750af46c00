"""Small pictures of what a model was shown, for a page that holds them."""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from evaluation.report.document import Picture
from evaluation.results import Prediction
from input_pipeline.examples import MediaRef
from input_pipeline.media import MediaError, probe, read_frames
from input_pipeline.paths import is_remote, located

MOST = 8  # pictures of a question
_SIDE = 160  # pixels, the longer one
_QUALITY = 75  # of JPEG; a picture then takes about 3 KB


def thumbnails(question: Prediction, media_root: str) -> list[Picture]:
    """Frames that were shown with a question, evenly chosen where they are many, and images.

    media_root: where relative paths start. Raises MediaError for a medium that is not there any
    more or cannot be read, and for one behind an address, which a report does not fetch.
    """
    times = iter(question.frame_times or ())
    media = question.media or ()
    found: list[Picture] = []
    for kind, path, *cut in media:
        ref = MediaRef(kind, _where(str(path), media_root), *cut)  # type: ignore[arg-type]
        if is_remote(ref.path):
            raise MediaError(ref.path, "unreadable", "a report does not fetch media")
        shown = next(times, ()) if kind == "video" else (0.0,)
        found += _pictures(ref, _evenly(shown, max(1, MOST // len(media))))
    return found[:MOST]


def _where(path: str, root: str) -> str:
    return path if path.startswith("record:") else located(path, root)


def _evenly(times: Sequence[float], most: int) -> list[float]:
    """At most so many of the times, from the first to the last."""
    count = min(len(times), most)
    return [times[round(i)] for i in np.linspace(0, len(times) - 1, count)]


def _pictures(ref: MediaRef, times: Sequence[float]) -> Iterator[Picture]:
    info = probe(ref)
    scale = min(1.0, _SIDE / max(info.height, info.width))
    size = max(1, round(scale * info.height)), max(1, round(scale * info.width))
    there = np.array(info.frame_times)
    indices = [int(abs(there - time).argmin()) for time in times]
    for time, frame in zip(times, read_frames(ref, indices, size), strict=True):
        options = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
        _, jpeg = cv2.imencode(".jpg", frame[..., ::-1], options)
        yield Picture(jpeg.tobytes(), f"{time:.1f} s" if ref.kind == "video" else "")
