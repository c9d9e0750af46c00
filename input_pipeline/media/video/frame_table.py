"""The frames of a video as its container announces them, and their times.

Times come from the timestamps of the container, never from a declared frame count or rate: both are
wrong in real files, and variable frame rate has no rate at all.
"""

import dataclasses
import itertools
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import av
import numpy as np

from input_pipeline.media import bounds
from input_pipeline.media.errors import MediaError
from input_pipeline.media.video.container import Video, open_video

# In these, every packet is one displayed frame and carries its presentation time, so times need
# no decoding. Others interleave fields, pack several frames, or start in mid-stream.
INDEXED_CONTAINERS = frozenset({"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"})
HIDDEN_FRAME_CODECS = frozenset({"vp8"})  # stores frames that are never shown as packets

_COMPARED_ENTRIES = 64  # of the header's tables with FFmpeg's index: at each end, and between
_CHECKED_PACKETS = 16  # of which the times are compared with those worked out from the header
_KEPT_PACKETS = 64  # of a stream that was read to its end


class Begun(NamedTuple):
    """What was read at the start of a stream. frames: decoded. packets: those behind, which were
    not. A decoder that goes on with them and with what the container gives next need not seek."""

    frames: Sequence[av.VideoFrame]
    packets: Sequence[av.Packet]


@dataclasses.dataclass(frozen=True)
class FrameTable:
    """The frames of a stream as its container announces them.

    pts: ticks, every displayed frame, ascending. keys: ticks, those that can be seeked to.
    first: the first decoded frame, proof that the stream can be decoded. tick: seconds.
    begun: where decoding stands; None where the container was read on beyond what is kept.
    """

    pts: list[int]
    keys: list[int]
    first: av.VideoFrame
    tick: Fraction
    begun: Begun | None = None

    @property
    def times(self) -> list[float]:
        """Seconds from the first frame, one for each."""
        return _seconds(self.pts, self.tick)


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


def decoded_times(path: str) -> tuple[av.VideoFrame, list[float]]:
    """The first frame of a video whose container does not tell, and the time of every frame in
    seconds from it, found by decoding them all. Raises MediaError."""
    first: av.VideoFrame | None = None
    pts: list[int | None] = []
    dts: list[int | None] = []
    packets: list[int] = []
    with open_video(path) as video:
        for packet in video.container.demux(video.stream):
            if packet.dts is not None and packet.size and not packet.is_discard:
                packets.append(packet.dts)
            for frame in packet.decode():
                first = first or frame
                pts.append(frame.pts)
                dts.append(frame.dts)
                bounds.check_frame_count(path, len(pts))
        tick, restarts = video.tick, video.restarts
    if first is None:
        raise _no_frames(path)
    # AVI may store decoding times alone. Of a frame that has come out they are its time; where
    # frames come out later than they went in, the times of the packets, in order.
    sources: list[Sequence[int | None]] = [pts, dts]
    if len(packets) == len(pts):
        sources.append(sorted(packets))
    for ticks in sources:
        known = [each for each in ticks if each is not None]
        if restarts:
            known = _continued(known)
        if len(known) < len(ticks) or known != sorted(known):
            continue
        times = _seconds(known, tick)
        if len(times) == 1 or times[-1] > 0:
            return first, times
    raise MediaError(
        path,
        "no_times",
        f"{len(pts)} frames without rising timestamps; put them in an mp4 or mkv",
    )


def _continued(ticks: Sequence[int]) -> list[int]:
    """Times that begin anew go on instead, one interval behind the last: FFmpeg's way."""
    if not ticks:
        return []
    found, shift, interval = [ticks[0]], 0, 1
    for before, here in itertools.pairwise(ticks):
        if here > before:
            interval = here - before
        else:
            shift += before + interval - here
        found.append(here + shift)
    return found


def _seconds(ticks: Sequence[int], tick: Fraction) -> list[float]:
    """Times since the first, each the float64 nearest to the exact one."""
    since = np.array(ticks, np.int64) - ticks[0]
    return (since * tick.numerator / tick.denominator).tolist()


def _no_frames(path: str) -> MediaError:
    return MediaError(path, "no_frames", "the video stream holds no frame that can be shown")


def _table_from_header(video: Video) -> FrameTable | None:
    """From FFmpeg's index of an MP4, without reading more than a few packets."""
    offsets = video.track.offsets if video.track else None
    count = len(video.stream.index_entries)
    if offsets is None or not count == len(offsets) == video.stream.frames:
        return None
    bounds.check_frame_count(video.path, count)
    dts, keys, shown, whole = _from_samples(video) or _from_entries(video)
    if whole < count:
        _raise_truncated(video.path, whole, count)
    pts = dts + offsets
    seek_to = int(dts[0])
    decoded: list[av.VideoFrame] = []
    shifts, ahead = set(), []
    for number, packet in enumerate(video.container.demux(video.stream)):
        if number < count and packet.pts is not None:
            shifts.add(packet.pts - int(pts[number]))
        if decoded:
            ahead.append(packet)
        else:
            decoded = packet.decode()
        if decoded and number >= min(_CHECKED_PACKETS, count):
            break
    table = None
    if len(shifts) == 1:  # else an edit of a kind that we do not know
        pts += shifts.pop()
        begun = Begun(decoded, ahead)
        table = _checked(video, pts[shown], pts[shown & keys], begun, whole=True)
    if table is None:
        video.container.seek(seek_to, stream=video.stream)
    return table


class _Stored(NamedTuple):
    """The frames as the file stores them, in decoding order. dts: int64[n], ticks. keys, shown:
    bool[n]. whole: how many lie inside the file."""

    dts: np.ndarray
    keys: np.ndarray
    shown: np.ndarray
    whole: int


def _from_entries(video: Video) -> _Stored:
    """Out of FFmpeg's index, sample by sample."""
    facts = [
        (e.timestamp, e.is_keyframe, not e.is_discard, e.pos + e.size <= video.bytes)
        for e in video.stream.index_entries
    ]
    dts, keys, shown, there = np.array(facts, np.int64).T
    return _Stored(dts, keys != 0, shown != 0, int(there.sum()))


def _from_samples(video: Video) -> _Stored | None:
    """Out of the header's own tables; None unless FFmpeg's index agrees at both ends and in some
    places between. What an edit leaves out lies at the ends."""
    samples = video.track.samples if video.track else None
    entries = video.stream.index_entries
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
    return _Stored(samples.times + shift, samples.keys, np.ones(count, bool), whole)


def _table_from_packets(video: Video) -> FrameTable | None:
    """From the packets of the whole stream."""
    announced = len(video.stream.index_entries) if video.track else 0
    pts, keys, packets = [], [], 0
    decoded: list[av.VideoFrame] = []
    ahead: list[av.Packet] = []
    for packet in video.container.demux(video.stream):
        if not decoded:
            decoded = packet.decode()
        elif len(ahead) <= _KEPT_PACKETS:
            ahead.append(packet)
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
        bounds.check_frame_count(video.path, len(pts))
    if packets < announced:
        _raise_truncated(video.path, packets, announced)
    begun = Begun(decoded, ahead)
    return _checked(video, pts, keys, begun, whole=len(ahead) <= _KEPT_PACKETS)


def _checked(
    video: Video,
    pts: Sequence[int] | np.ndarray,
    keys: Sequence[int] | np.ndarray,
    begun: Begun,
    *,
    whole: bool,
) -> FrameTable | None:
    """A table with its times in order; None if they cannot be those of the frames. whole: whether
    nothing was read beyond what `begun` has."""
    if not begun.frames or not len(pts):
        raise _no_frames(video.path)
    first = begun.frames[0]
    rising = np.sort(np.asarray(pts, np.int64))
    if first.pts != rising[0] or (np.diff(rising) == 0).any():
        return None
    keys = sorted(map(int, keys))
    return FrameTable(rising.tolist(), keys, first, video.tick, begun if whole else None)


def _raise_truncated(path: str, found: int, announced: int) -> None:
    raise MediaError(path, "truncated", f"{found} of {announced or '?'} announced frames are there")
