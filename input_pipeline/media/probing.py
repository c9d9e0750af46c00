"""What a medium is, or why it cannot be used: size, frame times, duration."""

import bisect
import contextlib
import dataclasses
import os
from collections.abc import Iterator, Sequence

from input_pipeline.examples import MediaKind, MediaRef
from input_pipeline.media.errors import MediaError
from input_pipeline.media.image_header import ImageHeader, read_image_header
from input_pipeline.media.sources import frame_folder, is_frame_folder, open_source, read_source
from input_pipeline.media.video.container import (
    MAX_VIDEO_BYTES,
    check_frame_count,
    check_pixels,
    displayed_size,
    frame_table,
    frame_times,
    open_video,
)

__all__ = [
    "MediaError",
    "MediaInfo",
    "clip_frames",
    "cut_clip",
    "in_folder",
    "kind_of_file",
    "load_image",
    "probe",
]

# Bounds on what the outside world may hand us. A file beyond one is refused by name.
MAX_IMAGE_BYTES = 256 * 2**20
MAX_IMAGE_PIXELS = 2**27  # 134 megapixels: 400 MB decoded
MAX_DURATION_S = 12 * 3600.0

# How much later than its time a frame may start and still belong to a clip, in seconds: the times
# in annotations are rounded.
_CLIP_TOLERANCE_S = 1e-6


@dataclasses.dataclass(frozen=True)
class MediaInfo:
    """What is known about a usable medium before decoding it.

    width, height: pixels as displayed, rotation and EXIF orientation applied. (Non-square pixels
        are not stretched; neither do the decoders of the reference implementations.)
    frame_times: seconds, presentation order, first frame = 0.0; (0.0,) for an image.
    duration_s: seconds, the last frame's time plus one mean frame interval; 0.0 for an image.
    """

    kind: MediaKind
    width: int
    height: int
    frame_times: tuple[float, ...]
    duration_s: float

    @property
    def frames(self) -> int:
        return len(self.frame_times)

    @property
    def fps(self) -> float:
        """Mean frames per second; 0.0 for an image."""
        return self.frames / self.duration_s if self.duration_s else 0.0


def kind_of_file(path: str) -> MediaKind:
    """ "image" for a file that begins like a JPEG, PNG, WebP or BMP, else "video" (GIFs and
    frame folders too).

    Raises MediaError("missing") and the like for a file that cannot be opened.
    """
    if is_frame_folder(path):
        return "video"
    with open_source(path, MAX_VIDEO_BYTES) as file:
        start = file.read(12)
    webp = start[:4] == b"RIFF" and start[8:12] == b"WEBP"
    images = (b"\xff\xd8\xff", b"\x89PNG", b"BM")
    return "image" if webp or start.startswith(images) else "video"


def probe(ref: MediaRef) -> MediaInfo:
    """Reads what the pipeline needs to plan with. Decodes no pixel of an image, at most one frame
    of a video whose container announces every frame, and all frames of others.

    Raises MediaError.
    """
    if ref.kind == "image":
        header = load_image(ref.path)[1]
        return MediaInfo("image", *header.displayed_size, frame_times=(0.0,), duration_s=0.0)
    if is_frame_folder(ref.path):
        size, times, nominal = _probe_folder(ref.path)
    else:
        size, times, nominal = _probe_video(ref.path)
    if times[-1] > MAX_DURATION_S:
        raise MediaError(
            ref.path, "too_long", f"{times[-1]:.0f} s, the bound is {MAX_DURATION_S:.0f} s"
        )
    interval = times[-1] / (len(times) - 1) if len(times) > 1 else nominal
    return cut_clip(MediaInfo("video", *size, tuple(times), times[-1] + interval), ref)


def cut_clip(info: MediaInfo, ref: MediaRef) -> MediaInfo:
    """What a whole video was found to be -> what the clip of it is that `ref` asks for.

    Raises MediaError("empty_clip").
    """
    if ref.start_s is None and ref.end_s is None:
        return info
    times = info.frame_times
    first, stop = clip_frames(ref, times)
    clip = tuple(time - times[first] for time in times[first:stop])
    interval = info.duration_s - times[-1]
    return dataclasses.replace(info, frame_times=clip, duration_s=clip[-1] + interval)


def clip_frames(ref: MediaRef, times: Sequence[float]) -> tuple[int, int]:
    """(first, behind the last) of the frames with start_s <= time <= end_s.

    times: seconds from the first frame of the whole video, rising. At a constant rate f these are
    ceil(start_s · f) to floor(end_s · f), as in qwen-vl-utils.
    Raises MediaError where there are none.
    """
    start = ref.start_s if ref.start_s is not None else 0.0
    end = ref.end_s if ref.end_s is not None else times[-1]
    first = bisect.bisect_left(times, start - _CLIP_TOLERANCE_S)
    stop = bisect.bisect_right(times, end + _CLIP_TOLERANCE_S)
    if first >= stop:
        raise MediaError(
            ref.path,
            "empty_clip",
            f"no frame from {start} s to {end} s, the last one is at {times[-1]:.3f} s",
        )
    return first, stop


def load_image(path: str) -> tuple[bytes, ImageHeader]:
    """The bytes of an image file and its header, within the bounds. Raises MediaError."""
    data = read_source(path, MAX_IMAGE_BYTES)
    try:
        header = read_image_header(data)
    except ValueError as error:
        raise MediaError(path, "corrupt", str(error)) from error
    if header is None:
        raise MediaError(
            path,
            "unsupported_format",
            f"not a JPEG, PNG, WebP, BMP or GIF image; starts with {data[:8]!r}",
        )
    if header.width <= 0 or header.height <= 0:
        raise MediaError(path, "corrupt", f"declares {header.width}x{header.height} pixels")
    if header.width * header.height > MAX_IMAGE_PIXELS:
        raise MediaError(
            path,
            "too_many_pixels",
            f"{header.width}x{header.height}, the bound is {MAX_IMAGE_PIXELS} pixels",
        )
    if not header.complete:
        raise MediaError(path, "truncated", f"the {header.format} data ends before its end marker")
    return data, header


@contextlib.contextmanager
def in_folder(path: str, file: str) -> Iterator[None]:
    """What goes wrong with a file of a frame folder is the folder's fault."""
    try:
        yield
    except MediaError as error:
        raise MediaError(path, error.reason, f"{os.path.basename(file)}: {error.detail}") from error


def _probe_folder(path: str) -> tuple[tuple[int, int], list[float], float]:
    """(width, height), frame times and nominal interval in seconds."""
    folder = frame_folder(path)
    check_frame_count(path, len(folder.files))
    with in_folder(path, folder.files[0]):
        width, height = load_image(folder.files[0])[1].displayed_size
    check_pixels(path, width, height)
    return (width, height), [i / folder.fps for i in range(len(folder.files))], 1 / folder.fps


def _probe_video(path: str) -> tuple[tuple[int, int], list[float], float]:
    with open_video(path) as video:
        table = frame_table(video)
        rate = video.stream.average_rate or video.stream.guessed_rate
        if table is not None:
            first, times = frame_times(video, table)
    if table is None:
        with open_video(path) as video:
            first, times = frame_times(video, None)
    check_pixels(path, first.width, first.height)
    nominal = float(1 / rate) if rate else 0.0  # all that is known of a single frame
    return displayed_size(first), times, nominal
