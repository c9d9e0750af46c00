"""What a media file is, or why it cannot be used: size, frame times, duration.

Frame times come from the timestamps of the container, never from a declared frame count or rate:
both are wrong in real files, and variable frame rate has no rate at all.
"""

import contextlib
import dataclasses
import os
import stat
from collections.abc import Iterator

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from input_pipeline.examples import MediaKind, MediaRef
from input_pipeline.image_header import ImageHeader, read_image_header

# Bounds on what the outside world may hand us. A file beyond one is refused by name.
MAX_IMAGE_BYTES = 256 * 2**20
MAX_VIDEO_BYTES = 16 * 2**30
MAX_IMAGE_PIXELS = 2**27  # 134 megapixels: 400 MB decoded
MAX_FRAME_PIXELS = 2**25  # 33.5 megapixels: 8K video
MAX_DURATION_S = 12 * 3600.0
MAX_FRAMES = 2_000_000

# Playlists and the like (HLS, DASH, concat) are left out: they make the decoder open other files.
CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,gif,mpeg,mpegts,flv,asf,ogg,h264,hevc,m4v"
# In these, every packet is one displayed frame and carries its presentation time, so times need
# no decoding. Others interleave fields, pack several frames, or start in mid-stream.
INDEXED_CONTAINERS = frozenset({"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"})
HIDDEN_FRAME_CODECS = frozenset({"vp8"})  # stores frames that are never shown as packets


class MediaError(Exception):
    """A media file cannot be used.

    path: the file. detail: for people.
    reason: one word for counting; one of
        missing, directory, not_a_file, unreadable, empty, too_large   (the file itself)
        unsupported_format, not_video, corrupt, truncated              (what is in it)
        no_frames, no_times, too_many_pixels, too_long
    """

    def __init__(self, path: str, reason: str, detail: str):
        super().__init__(path, reason, detail)  # as args, so that it survives pickling
        self.path, self.reason, self.detail = path, reason, detail

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}: {self.detail}"


@dataclasses.dataclass(frozen=True)
class MediaInfo:
    """What is known about a usable file before decoding it.

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


@dataclasses.dataclass(frozen=True)
class PacketTable:
    """The frames of a stream as its packets announce them.

    pts: ticks, every displayed frame, ascending. keys: ticks, those that can be seeked to.
    first: the first decoded frame, proof that the stream can be decoded.
    """

    pts: list[int]
    keys: list[int]
    first: av.VideoFrame


def kind_of_file(path: str) -> MediaKind:
    """ "image" for a file that begins like a JPEG, PNG, WebP or BMP, else "video" (GIF too).

    Raises MediaError("missing") and the like for a file that cannot be opened.
    """
    check_file(path, MAX_VIDEO_BYTES)
    with open(path, "rb") as file:
        start = file.read(12)
    webp = start[:4] == b"RIFF" and start[8:12] == b"WEBP"
    images = (b"\xff\xd8\xff", b"\x89PNG", b"BM")
    return "image" if webp or start.startswith(images) else "video"


def probe(ref: MediaRef) -> MediaInfo:
    """Reads what the pipeline needs to plan with. Decodes at most one frame of a video whose
    container announces every frame, all frames of others, and no pixel of an image.

    Raises MediaError.
    """
    if ref.kind == "image":
        header = load_image(ref.path)[1]
        return MediaInfo("image", *header.displayed_size, frame_times=(0.0,), duration_s=0.0)
    return _probe_video(ref.path)


def check_file(path: str, max_bytes: int) -> None:
    """Raises MediaError unless `path` is a readable, non-empty regular file within the bound."""
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MediaError(path, "missing", "no such file") from error
    except (OSError, ValueError) as error:
        raise MediaError(path, "unreadable", str(error)) from error
    if stat.S_ISDIR(status.st_mode):
        raise MediaError(path, "directory", "a directory where a media file was expected")
    if not stat.S_ISREG(status.st_mode):
        raise MediaError(path, "not_a_file", "a device, pipe or socket; reading it could hang")
    if status.st_size == 0:
        raise MediaError(path, "empty", "the file has no bytes")
    if status.st_size > max_bytes:
        raise MediaError(
            path, "too_large", f"{status.st_size} bytes, the bound is {max_bytes} bytes"
        )
    if not os.access(path, os.R_OK):
        raise MediaError(path, "unreadable", "no permission to read the file")


def load_image(path: str) -> tuple[bytes, ImageHeader]:
    """The bytes of an image file and its header, within the bounds. Raises MediaError."""
    check_file(path, MAX_IMAGE_BYTES)
    try:
        with open(path, "rb") as file:
            data = file.read()
        header = read_image_header(data)
    except OSError as error:
        raise MediaError(path, "unreadable", str(error)) from error
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
def open_video(path: str) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Opens a video for single-threaded decoding; FFmpeg's errors inside become MediaError.

    One thread, because leaving a multi-threaded decode loop early can hang for ever, and because
    the loader runs many decodes side by side anyway.
    """
    check_file(path, MAX_VIDEO_BYTES)
    options = {
        "format_whitelist": CONTAINERS,
        "protocol_whitelist": "file",
        "max_pixels": str(MAX_FRAME_PIXELS),
        "threads": "1",
    }
    try:
        container = av.open(f"file:{path}", options=options, metadata_errors="replace")
    except av.error.ArgumentError as error:
        raise MediaError(path, "unsupported_format", f"not a video container: {error}") from error
    except av.error.FFmpegError as error:
        raise MediaError(path, "corrupt", str(error)) from error
    with container:
        try:
            yield container, _video_stream(container, path)
        except av.error.ArgumentError as error:
            bound = f"damaged, or a picture beyond {MAX_FRAME_PIXELS} pixels"
            raise MediaError(path, "corrupt", f"{bound}: {error}") from error
        except (av.error.FFmpegError, IndexError) as error:
            # IndexError is PyAV's for a packet of a stream that the file's header did not announce.
            raise MediaError(path, "corrupt", str(error)) from error


def _video_stream(container: InputContainer, path: str) -> VideoStream:
    """The first video stream that is not a cover picture, set up for one thread."""
    attached = av.stream.Disposition.attached_pic
    for stream in container.streams.video:
        if stream.disposition & attached:
            continue
        context = stream.codec_context
        if context is None:
            raise MediaError(path, "unsupported_format", "no decoder for the video codec")
        check_pixels(path, context.width, context.height)
        context.thread_type, context.thread_count = "NONE", 1
        return stream
    kinds = sorted({stream.type for stream in container.streams}) or ["nothing"]
    raise MediaError(path, "not_video", f"no video stream, only {', '.join(kinds)}")


def check_pixels(path: str, width: int, height: int) -> None:
    """Raises MediaError when a frame would exceed the bound."""
    if width * height > MAX_FRAME_PIXELS:
        raise MediaError(
            path, "too_many_pixels", f"{width}x{height}, the bound is {MAX_FRAME_PIXELS} pixels"
        )


def displayed_size(frame: av.VideoFrame) -> tuple[int, int]:
    """(width, height) in pixels after the frame's rotation metadata is applied."""
    if quarter_turns(frame) % 2:
        return frame.height, frame.width
    return frame.width, frame.height


def quarter_turns(frame: av.VideoFrame) -> int:
    """Counterclockwise quarter turns that display the frame upright: 0-3."""
    return round(frame.rotation / 90) % 4


def read_packet_table(
    path: str, container: InputContainer, stream: VideoStream
) -> PacketTable | None:
    """The frames of a freshly opened stream from one pass over its packets.

    None when this container's packets do not tell: then only decoding does. The pass leaves the
    container at its end. Raises MediaError.
    """
    if container.format.name not in INDEXED_CONTAINERS:
        return None
    if stream.codec_context.name in HIDDEN_FRAME_CODECS:
        return None
    announced = len(stream.index_entries) if "mp4" in container.format.name else 0
    pts, keys, first, packets, told = [], [], None, 0, True
    for packet in container.demux(stream):
        if first is None:
            first = next(iter(packet.decode()), None)
        if packet.size == 0:  # the flush packet at the end
            continue
        packets += 1
        if packet.is_corrupt:
            raise MediaError(path, "truncated", f"frame {packets} of {announced or '?'} is cut off")
        if packet.is_discard:  # outside the edit list: decoded for reference, never shown
            continue
        if packet.pts is None:
            told = False
            break
        pts.append(packet.pts)
        if packet.is_keyframe:
            keys.append(packet.pts)
        check_frame_count(path, len(pts))
    if told and packets < announced:
        raise MediaError(path, "truncated", f"{packets} of {announced} announced frames are there")
    if told and (first is None or not pts):
        raise MediaError(path, "no_frames", "the video stream holds no frame that can be shown")
    pts.sort()
    if not told or first.pts != pts[0] or any(a == b for a, b in zip(pts, pts[1:], strict=False)):
        return None
    return PacketTable(pts, sorted(keys), first)


def check_frame_count(path: str, frames: int) -> None:
    """Raises MediaError when a stream holds more frames than the bound."""
    if frames > MAX_FRAMES:
        raise MediaError(path, "too_long", f"more than {MAX_FRAMES} frames")


def _probe_video(path: str) -> MediaInfo:
    with open_video(path) as (container, stream):
        table = read_packet_table(path, container, stream)
        rate = stream.average_rate or stream.guessed_rate
        if table is not None:
            first, tick = table.first, stream.time_base
            times = [float((pts - table.pts[0]) * tick) for pts in table.pts]
    if table is None:
        with open_video(path) as (container, stream):
            first, times = _decode_times(path, container, stream)
    check_pixels(path, first.width, first.height)
    if times[-1] > MAX_DURATION_S:
        raise MediaError(
            path, "too_long", f"{times[-1]:.0f} s, the bound is {MAX_DURATION_S:.0f} s"
        )
    nominal = float(1 / rate) if rate else 0.0  # all that is known of a single frame
    interval = times[-1] / (len(times) - 1) if len(times) > 1 else nominal
    return MediaInfo("video", *displayed_size(first), tuple(times), times[-1] + interval)


def _decode_times(
    path: str, container: InputContainer, stream: VideoStream
) -> tuple[av.VideoFrame, list[float]]:
    """The first frame, and the time of every frame in seconds, by decoding them all."""
    first, pts, dts = None, [], []
    for frame in container.decode(stream):
        first = first or frame
        pts.append(frame.pts)
        dts.append(frame.dts)
        check_frame_count(path, len(pts))
    if first is None:
        raise MediaError(path, "no_frames", "the video stream holds no frame that can be shown")
    # AVI may store decoding times alone; of a frame that has come out they are its time.
    for ticks in (pts, dts):
        if None in ticks or any(a > b for a, b in zip(ticks, ticks[1:], strict=False)):
            continue
        times = [float((tick - ticks[0]) * stream.time_base) for tick in ticks]
        if len(times) == 1 or times[-1] > 0:
            return first, times
    raise MediaError(
        path, "no_times", f"{len(pts)} frames without rising timestamps; put them in an mp4 or mkv"
    )
