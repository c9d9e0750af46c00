"""A video file opened for decoding, and the table of its frames.

Frame times come from the timestamps of the container, never from a declared frame count or rate:
both are wrong in real files, and variable frame rate has no rate at all.
"""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import BinaryIO, NamedTuple

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from input_pipeline.media.errors import MediaError
from input_pipeline.media.sources import open_source, size_of
from input_pipeline.media.video.mp4_tables import Mp4Track, read_tracks

# Bounds on what the outside world may hand us. A file beyond one is refused by name.
MAX_VIDEO_BYTES = 16 * 2**30
MAX_FRAME_PIXELS = 2**25  # 33.5 megapixels: 8K video
MAX_FRAMES = 2_000_000

# Playlists and the like (HLS, DASH, concat) are left out: they make the decoder open other files.
CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,gif,mpeg,mpegts,flv,asf,ogg,h264,hevc,m4v"
# In these, every packet is one displayed frame and carries its presentation time, so times need
# no decoding. Others interleave fields, pack several frames, or start in mid-stream.
INDEXED_CONTAINERS = frozenset({"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"})
HIDDEN_FRAME_CODECS = frozenset({"vp8"})  # stores frames that are never shown as packets

_COMPARED_ENTRIES = 64  # of the header's tables with FFmpeg's index: at each end, and between
_CHECKED_PACKETS = 16  # of which the times are compared with those worked out from the header


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


@dataclasses.dataclass(frozen=True)
class FrameTable:
    """The frames of a stream as its container announces them.

    pts: ticks, every displayed frame, ascending. keys: ticks, those that can be seeked to.
    first: the first decoded frame, proof that the stream can be decoded.
    """

    pts: list[int]
    keys: list[int]
    first: av.VideoFrame


@contextlib.contextmanager
def open_video(path: str) -> Iterator[Video]:
    """Opens a video; FFmpeg's errors inside become MediaError.

    One thread, because leaving a multi-threaded decode loop early can hang for ever, and because
    the loader runs many decodes side by side anyway.
    """
    with open_source(path, MAX_VIDEO_BYTES) as file:
        try:
            size, tracks = size_of(file), read_tracks(file)
            file.seek(0)
            with _open_container(path, file) as container:
                stream = _video_stream(path, container)
                yield Video(path, container, stream, tracks.get(stream.id), size)
        except MemoryError as error:
            raise MediaError(path, "out_of_memory", str(error)) from error
        except av.error.ArgumentError as error:
            bound = f"damaged, or a picture beyond {MAX_FRAME_PIXELS} pixels"
            raise MediaError(path, "corrupt", f"{bound}: {error}") from error
        except (av.error.FFmpegError, IndexError) as error:
            # IndexError is PyAV's for a packet of a stream that the file's header did not announce.
            raise MediaError(path, "corrupt", str(error)) from error
        except OSError as error:
            raise MediaError(path, "unreadable", str(error)) from error


def _open_container(path: str, file: BinaryIO) -> InputContainer:
    options = {
        "format_whitelist": CONTAINERS,
        "protocol_whitelist": "file",
        "max_pixels": str(MAX_FRAME_PIXELS),
        "threads": "1",
    }
    try:
        return av.open(file, options=options, metadata_errors="replace")
    except av.error.ArgumentError as error:
        raise MediaError(path, "unsupported_format", f"not a video container: {error}") from error


def _video_stream(path: str, container: InputContainer) -> VideoStream:
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


def check_frame_count(path: str, frames: int) -> None:
    """Raises MediaError when a stream holds more frames than the bound."""
    if frames > MAX_FRAMES:
        raise MediaError(path, "too_long", f"more than {MAX_FRAMES} frames")


def displayed_size(frame: av.VideoFrame) -> tuple[int, int]:
    """(width, height) in pixels after the frame's rotation metadata is applied."""
    if quarter_turns(frame) % 2:
        return frame.height, frame.width
    return frame.width, frame.height


def quarter_turns(frame: av.VideoFrame) -> int:
    """Counterclockwise quarter turns that display the frame upright: 0-3."""
    return round(frame.rotation / 90) % 4


# ── The frames of a stream. ─────────────────────────────────────────────────────────────────────


def frame_table(video: Video) -> FrameTable | None:
    """The frames of a freshly opened stream: from the header where it has them all, else from one
    pass over the packets.

    None when this container's packets do not tell: then only decoding does. Leaves the container
    somewhere behind its first frame. Raises MediaError.
    """
    if video.container.format.name not in INDEXED_CONTAINERS:
        return None
    if video.stream.codec_context.name in HIDDEN_FRAME_CODECS:
        return None
    if video.track and video.track.encrypted:
        raise MediaError(video.path, "encrypted", "the video track is encrypted (DRM)")
    return _table_from_header(video) or _table_from_packets(video)


def frame_times(video: Video, table: FrameTable | None) -> tuple[av.VideoFrame, list[float]]:
    """The first frame, and the time of every frame in seconds from it.

    table: what `frame_table` gave; None decodes a freshly opened stream to its end.
    """
    if table is None:
        return _times_by_decoding(video)
    return table.first, _seconds(table.pts, video)


def _seconds(ticks: Sequence[int], video: Video) -> list[float]:
    """Times since the first, each the float64 nearest to the exact one."""
    tick = video.stream.time_base
    since = np.array(ticks, np.int64) - ticks[0]
    return (since * tick.numerator / tick.denominator).tolist()


def _table_from_header(video: Video) -> FrameTable | None:
    """From FFmpeg's index of an MP4, without reading more than a few packets."""
    offsets = video.track.offsets if video.track else None
    entries = video.stream.index_entries
    count = len(entries)
    if offsets is None or not count == len(offsets) == video.stream.frames:
        return None
    check_frame_count(video.path, count)
    dts, keys, shown, whole = _from_samples(video) or _from_entries(video)
    if whole < count:
        _raise_truncated(video.path, whole, count)
    pts = dts + offsets
    seek_to = int(dts[0])
    first, shifts = None, set()
    for number, packet in enumerate(video.container.demux(video.stream)):
        if number < count and packet.pts is not None:
            shifts.add(packet.pts - int(pts[number]))
        first = first or next(iter(packet.decode()), None)
        if first is not None and number >= min(_CHECKED_PACKETS, count):
            break
    table = None
    if len(shifts) == 1:  # else an edit of a kind that we do not know
        pts += shifts.pop()
        table = _checked(video.path, pts[shown], pts[shown & keys], first)
    if table is None:
        video.container.seek(seek_to, stream=video.stream)
    return table


class _Index(NamedTuple):
    """dts: int64[n], ticks. keys, shown: bool[n]. whole: how many lie inside the file."""

    dts: np.ndarray
    keys: np.ndarray
    shown: np.ndarray
    whole: int


def _from_entries(video: Video) -> _Index:
    """Out of FFmpeg's index, sample by sample."""
    facts = [
        (e.timestamp, e.is_keyframe, not e.is_discard, e.pos + e.size <= video.bytes)
        for e in video.stream.index_entries
    ]
    dts, keys, shown, there = np.array(facts, np.int64).T
    return _Index(dts, keys != 0, shown != 0, int(there.sum()))


def _from_samples(video: Video) -> _Index | None:
    """Out of the header's own tables; None unless FFmpeg's index agrees at both ends and in some
    places between. What an edit leaves out lies at the ends."""
    samples, entries = video.track.samples, video.stream.index_entries
    count = len(entries)
    if samples is None or len(samples.times) != count:
        return None
    places = np.unique(np.linspace(0, count - 1, _COMPARED_ENTRIES).astype(int)).tolist()
    ends = range(min(_COMPARED_ENTRIES, count))
    shift = entries[0].timestamp - int(samples.times[0])
    for place in {*places, *ends, *(count - 1 - i for i in ends)}:
        entry = entries[place]
        facts = (entry.timestamp - shift, entry.is_keyframe, entry.pos + entry.size)
        ours = (samples.times[place], samples.keys[place], samples.ends[place])
        if entry.is_discard or facts != tuple(x.item() for x in ours):
            return None
    whole = int((samples.ends <= video.bytes).sum())
    return _Index(samples.times + shift, samples.keys, np.ones(count, bool), whole)


def _table_from_packets(video: Video) -> FrameTable | None:
    """From the packets of the whole stream."""
    announced = len(video.stream.index_entries) if video.track else 0
    pts, keys, first, packets = [], [], None, 0
    for packet in video.container.demux(video.stream):
        if first is None:
            first = next(iter(packet.decode()), None)
        if packet.size == 0:  # the flush packet at the end
            continue
        if packet.is_corrupt:
            _raise_truncated(video.path, packets, announced)
        packets += 1
        if packet.is_discard:  # outside the edit list: decoded for reference, never shown
            continue
        if packet.pts is None:
            return None
        pts.append(packet.pts)
        if packet.is_keyframe:
            keys.append(packet.pts)
        check_frame_count(video.path, len(pts))
    if packets < announced:
        _raise_truncated(video.path, packets, announced)
    return _checked(video.path, pts, keys, first)


def _checked(
    path: str, pts: Sequence[int], keys: Sequence[int], first: av.VideoFrame | None
) -> FrameTable | None:
    """A table with its times in order; None if they cannot be those of the frames."""
    if first is None or not len(pts):
        raise MediaError(path, "no_frames", "the video stream holds no frame that can be shown")
    pts = np.sort(np.asarray(pts, np.int64))
    if first.pts != pts[0] or (np.diff(pts) == 0).any():
        return None
    return FrameTable(pts.tolist(), sorted(map(int, keys)), first)


def _raise_truncated(path: str, found: int, announced: int) -> None:
    raise MediaError(path, "truncated", f"{found} of {announced or '?'} announced frames are there")


def _times_by_decoding(video: Video) -> tuple[av.VideoFrame, list[float]]:
    first, pts, dts = None, [], []
    for frame in video.container.decode(video.stream):
        first = first or frame
        pts.append(frame.pts)
        dts.append(frame.dts)
        check_frame_count(video.path, len(pts))
    if first is None:
        raise MediaError(
            video.path, "no_frames", "the video stream holds no frame that can be shown"
        )
    # AVI may store decoding times alone; of a frame that has come out they are its time.
    for ticks in (pts, dts):
        if None in ticks or any(a > b for a, b in zip(ticks, ticks[1:], strict=False)):
            continue
        times = _seconds(ticks, video)
        if len(times) == 1 or times[-1] > 0:
            return first, times
    raise MediaError(
        video.path,
        "no_times",
        f"{len(pts)} frames without rising timestamps; put them in an mp4 or mkv",
    )
