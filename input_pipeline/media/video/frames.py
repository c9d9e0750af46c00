"""Chosen frames of a video file, decoding no more than they need.

Frames are identified by their presentation time, not by counting, so that seeking cannot return
a neighbour. For each group of pictures that holds a wanted frame the decoder seeks once, skips
pictures that no other depends on, and stops right behind the last wanted one.
"""

import bisect
import itertools
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from input_pipeline.media import bounds
from input_pipeline.media.errors import MediaError
from input_pipeline.media.resizing import Resizing, shrunk
from input_pipeline.media.video.container import (
    Video,
    displayed_size,
    open_video,
    orientation_of,
)
from input_pipeline.media.video.frame_table import Begun, FrameTable, decoded_times, frame_table
from input_pipeline.media.video.timeline import Choose, Timeline, check_enough

# Codecs whose decoders skip exactly the pictures that nothing refers to.
SKIPPABLE_CODECS = frozenset({"h264", "hevc"})


def read_video(path: str, choose: Choose, resizing: Resizing, threads: int = 1) -> np.ndarray:
    """The frames that `choose` picks -> uint8[F, H, W, 3], RGB, rotation applied.

    Where the container announces its frames they are decoded by plan; where it does not, or the
    plan does not yield them all, from the start. threads: how many groups of pictures are decoded
    at a time. Raises MediaError.
    """
    frames = None
    with open_video(path) as video:
        table = frame_table(video)
        wanted = choose(_timeline(path, table))
        if table is not None:
            check_enough(path, len(table.pts), max(wanted))
            frames = _decode_planned(video, table, set(wanted), resizing, threads)
    if frames is None:
        with open_video(path) as video:
            frames = _decode_in_order(video, table, set(wanted), resizing)
    return np.stack([frames[index] for index in wanted])


def _timeline(path: str, table: FrameTable | None) -> Timeline:
    if table is None:
        return Timeline(lambda: decoded_times(path)[1])
    return Timeline(lambda: table.times, np.searchsorted(table.pts, table.keys).tolist())


class _Converter:
    """Converts frames of one clip to uint8[H, W, 3] RGB as displayed.

    A stream may change its picture size half-way; the clip has one size, that of its first frame.
    """

    def __init__(self, path: str, first: av.VideoFrame, resizing: Resizing):
        self._path = path
        self._resizing = resizing
        self._size = displayed_size(first)[::-1]
        self._interpolation = "BILINEAR"  # of the colour planes; PyAV's default
        if resizing.longest is not None:  # no full-size RGB picture is made
            self._size = shrunk(self._size, resizing.longest)
            self._interpolation = "AREA"
        self._reformatter = VideoReformatter()  # kept: setting up a conversion costs more than one

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        if frame.is_corrupt:
            raise MediaError(self._path, "corrupt", f"the frame at {frame.time} s is damaged")
        bounds.check_frame_pixels(self._path, frame.width, frame.height)
        upright = orientation_of(frame)
        height, width = self._size[::-1] if upright.swaps else self._size
        array = self._reformatter.reformat(
            frame, width, height, "rgb24", interpolation=self._interpolation, threads=1
        ).to_ndarray()
        return self._resizing(upright(array))


def _decode_planned(
    video: Video, table: FrameTable, wanted: set[int], resizing: Resizing, threads: int
) -> dict[int, np.ndarray] | None:
    """The wanted frames by index, one seek a group of pictures; None if one did not come out.

    threads: each opens the file for itself and takes a share of the groups. So many decoders of one
    thread cost no more together than one, and cannot hang as FFmpeg's own threads may.
    """
    groups: dict[int, dict[int, int]] = {}  # key frame's pts -> {wanted pts: index}
    for index in sorted(wanted):
        pts = table.pts[index]
        key = table.keys[max(bisect.bisect_right(table.keys, pts) - 1, 0)] if table.keys else 0
        groups.setdefault(key, {})[pts] = index

    def decode(
        video: Video, keys: Sequence[int], begun: Begun | None = None
    ) -> dict[int, np.ndarray]:
        convert = _Converter(video.path, table.first, resizing)
        frames: dict[int, np.ndarray] = {}
        for key in keys:
            going_on = begun if table.keys[:1] == table.pts[:1] == [key] else None
            if going_on is None:
                try:
                    video.container.seek(key, stream=video.stream, backward=True)
                except av.error.FFmpegError:
                    break
            frames |= _decode_group(video, groups[key], convert, going_on or Begun((), ()))
            if not frames.keys() >= set(groups[key].values()):
                break
        return frames

    def decode_elsewhere(keys: Sequence[int]) -> dict[int, np.ndarray]:
        with open_video(video.path) as another:
            return decode(another, keys)

    to_decode = {key: max(group.values()) - _place(table, key) for key, group in groups.items()}
    here, *elsewhere = _shares(to_decode, threads)
    with ThreadPoolExecutor(max(len(elsewhere), 1)) as pool:  # starts no thread without work
        others = [pool.submit(decode_elsewhere, keys) for keys in elsewhere]
        frames = decode(video, here, table.begun)
        for other in others:
            frames |= other.result()
    return frames if frames.keys() >= wanted else None


def _place(table: FrameTable, pts: int) -> int:
    """Index of the first frame at or behind a time."""
    return bisect.bisect_left(table.pts, pts)


def _shares(costs: Mapping[int, int], count: int) -> list[list[int]]:
    """The keys of `costs`, ascending, in at most `count` shares that cost about the same."""
    shares: list[list[int]] = [[] for _ in range(max(1, min(count, len(costs))))]
    totals = [0] * len(shares)
    for key in sorted(costs, key=costs.__getitem__, reverse=True):
        least = totals.index(min(totals))
        shares[least].append(key)
        totals[least] += costs[key] + 1
    return [sorted(share) for share in shares]


def _decode_group(
    video: Video, group: dict[int, int], convert: _Converter, begun: Begun
) -> dict[int, np.ndarray]:
    """{index: frame} for those of `group` ({pts: index}) met from here to its last pts. begun: what
    was read from its key frame on."""
    frames: dict[int, np.ndarray] = {}
    last = max(group)
    context = video.stream.codec_context
    skips = context.name in SKIPPABLE_CODECS

    def is_done(shown: Sequence[av.VideoFrame]) -> bool:
        """Whether nothing is to be met behind these, of which the wanted ones are kept."""
        for frame in shown:
            if frame.pts in group:
                frames[group[frame.pts]] = convert(frame)
            if len(frames) == len(group) or (frame.pts is not None and frame.pts > last):
                return True
        return False

    if is_done(begun.frames):
        return frames
    for packet in itertools.chain(begun.packets, video.container.demux(video.stream)):
        if skips:
            context.skip_frame = "DEFAULT" if packet.pts in group or not packet.size else "NONREF"
        if is_done(packet.decode()) or not packet.size:
            break
    return frames


def _decode_in_order(
    video: Video, table: FrameTable | None, wanted: set[int], resizing: Resizing
) -> dict[int, np.ndarray]:
    """The wanted frames by index, decoding from the start.

    table: tells them by their timestamps; without one they are counted.
    """
    places: dict[int | None, int] | None = (
        None if table is None else {pts: index for index, pts in enumerate(table.pts)}
    )
    frames: dict[int, np.ndarray] = {}
    convert = None
    found = 0
    for frame in video.container.decode(video.stream):
        index = found if places is None else places.get(frame.pts)
        found += 1
        convert = convert or _Converter(video.path, frame, resizing)
        if index in wanted:
            frames[index] = convert(frame)
            if len(frames) == len(wanted):
                return frames
    raise MediaError(
        video.path,
        "truncated",
        f"{found} frames could be decoded, {len(wanted - frames.keys())} of {len(wanted)} wanted "
        f"ones were not among them, the first is frame {min(wanted - frames.keys())} (from 0)",
    )
