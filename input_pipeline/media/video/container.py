"""A video file opened for decoding."""

import contextlib
import dataclasses
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from input_pipeline.media import bounds
from input_pipeline.media.errors import MediaError
from input_pipeline.media.images import START_BYTES, is_heif
from input_pipeline.media.resizing import Orientation
from input_pipeline.media.sources import SeekableFile, open_source, size_of
from input_pipeline.media.video.mp4_tables import Mp4Track, read_tracks

# Playlists and the like (HLS, DASH, concat) are left out: they make the decoder open other files.
CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,gif,mpeg,mpegts,flv,asf,ogg,h264,hevc,m4v,dv,mxf"
)
_TS_DISCONT = 0x0200  # of a container's format: FFmpeg's AVFMT_TS_DISCONT


@dataclasses.dataclass(frozen=True)
class Video:
    """A video stream opened for single-threaded decoding.

    track: what an MP4's header says about it, None for other containers. bytes: of the file.
    """

    path: str
    container: InputContainer
    stream: VideoStream
    track: Mp4Track | None
    bytes: int

    @property
    def restarts(self) -> bool:
        """Whether times may begin anew in the middle, as where broadcasts were joined."""
        return bool(self.container.format.flags & _TS_DISCONT)

    @property
    def tick(self) -> Fraction:
        """Seconds that timestamps count."""
        assert self.stream.time_base is not None, "a stream that FFmpeg has opened has one"
        return self.stream.time_base


@contextlib.contextmanager
def open_video(path: str) -> Iterator[Video]:
    """Opens a video; FFmpeg's errors inside become MediaError.

    One thread, because leaving a multi-threaded decode loop early can hang for ever, and because
    the loader runs many decodes side by side anyway.
    """
    with open_source(path, bounds.MAX_VIDEO_BYTES) as file:
        try:
            size, tracks = size_of(file), read_tracks(file)
            file.seek(0)
            if is_heif(file.read(START_BYTES)):  # FFmpeg would show one of its tiles
                raise MediaError(path, "unsupported_format", "it is a HEIC picture, not a video")
            file.seek(0)
            with _open_container(path, file) as container:
                stream = _video_stream(path, container)
                yield Video(path, container, stream, tracks.get(stream.id), size)
        except MemoryError as error:
            raise MediaError(path, "out_of_memory", str(error)) from error
        except av.error.ArgumentError as error:
            bound = f"damaged, or a picture beyond {bounds.MAX_FRAME_PIXELS} pixels"
            raise MediaError(path, "corrupt", f"{bound}: {error}") from error
        except (av.error.FFmpegError, IndexError) as error:
            # IndexError is PyAV's for a packet of a stream that the file's header did not announce.
            raise MediaError(path, "corrupt", str(error)) from error
        except OSError as error:
            raise MediaError(path, "unreadable", str(error)) from error


def _open_container(path: str, file: SeekableFile) -> InputContainer:
    options = {
        "format_whitelist": CONTAINERS,
        "protocol_whitelist": "file",
        "max_pixels": str(bounds.MAX_FRAME_PIXELS),
        "threads": "1",
    }
    try:
        return av.open(file, "r", options=options, metadata_errors="replace")
    except av.error.ArgumentError as error:
        raise MediaError(path, "unsupported_format", f"not a video container: {error}") from error


def _video_stream(path: str, container: InputContainer) -> VideoStream:
    """The video stream that players show, set up for one thread: FFmpeg's choice (the default one,
    of several with the most pictures and bits), but no cover picture, and none that is announced to
    be a single picture beside a film."""
    attached = av.stream.Disposition.attached_pic
    films = [each for each in container.streams.video if not each.disposition & attached]
    best = container.streams.best("video")
    stream = best if best in films else next(iter(films), None)
    if stream is not None and stream.frames == 1:
        stream = max(films, key=lambda each: each.frames)
    if stream is None:
        kinds = ", ".join(sorted({each.type for each in container.streams}))
        raise MediaError(path, "not_video", f"no video stream, only {kinds or 'nothing'}")
    context = stream.codec_context
    if context is None:
        raise MediaError(path, "unsupported_format", "no decoder for the video codec")
    bounds.check_frame_pixels(path, context.width, context.height)
    context.thread_type, context.thread_count = "NONE", 1
    return stream


def orientation_of(frame: av.VideoFrame) -> Orientation:
    """From the frame's display matrix, the nearest of the eight.

    Its first two rows and columns say where the stored axes point on the screen; what lies between
    (a tilt of some degrees) is left as it is, as players do. ISO/IEC 14496-12, 6.2.2; FFmpeg's
    `autorotate` shows the same.
    """
    matrix: Any = frame.side_data.get("DISPLAYMATRIX")  # whose type PyAV does not declare
    if matrix is None:
        return Orientation()
    # x on the screen is across · column + a · row; y is b · column + down · row.
    across, b, _, a, down = np.frombuffer(matrix, np.int32, 5).tolist()
    if abs(a) + abs(b) > abs(across) + abs(down):
        return Orientation(True, a < 0, b < 0)
    return Orientation(False, across < 0, down < 0)


def displayed_size(frame: av.VideoFrame) -> tuple[int, int]:
    """(width, height) in pixels, upright."""
    size = frame.width, frame.height
    return size[::-1] if orientation_of(frame).swaps else size
