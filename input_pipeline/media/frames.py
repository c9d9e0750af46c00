"""Pixels: chosen frames of a video, or one image, as RGB arrays.

Frames are identified by their presentation time, not by counting, so that seeking cannot return
a neighbour. For each group of pictures that holds a wanted frame the decoder seeks once, skips
pictures that no other depends on, and stops right behind the last wanted one.
"""

import bisect
import dataclasses
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter

from input_pipeline.examples import MediaRef
from input_pipeline.media.errors import MediaError
from input_pipeline.media.probing import clip_frames, in_folder, load_image
from input_pipeline.media.resize import resize
from input_pipeline.media.sampling import uniform_frame_indices
from input_pipeline.media.sources import frame_folder, is_frame_folder
from input_pipeline.media.video.container import (
    FrameTable,
    Video,
    check_pixels,
    displayed_size,
    frame_table,
    frame_times,
    open_video,
    quarter_turns,
)

DECODE_VERSION = 1  # raise when the pixels change: kept frames are then decoded again

# Codecs whose decoders skip exactly the pictures that nothing refers to.
SKIPPABLE_CODECS = frozenset({"h264", "hevc"})

# How far a preview may lie from its even place, as a fraction of the distance between two.
PREVIEW_SLACK = 0.25

Size = tuple[int, int]  # (height, width), pixels


def read_frames(
    ref: MediaRef, frame_indices: Sequence[int], size: Size | None = None, threads: int = 1
) -> np.ndarray:
    """Chosen frames of a medium of either kind -> uint8[F, H, W, 3], RGB, upright.

    frame_indices, threads: see `decode_frames`; an image has frame 0 alone. size: what the frames
    are resized to, one by one, so that no more than one a thread is there at full size; None leaves
    them.

    Raises MediaError.
    """
    if ref.kind == "video":
        return decode_frames(ref, frame_indices, size, threads)
    image = read_image(ref)
    return (image if size is None else resize(image, *size))[None]


def decode_frames(
    ref: MediaRef, frame_indices: Sequence[int], size: Size | None = None, threads: int = 1
) -> np.ndarray:
    """Chosen frames of a video -> uint8[F, H, W, 3], RGB, rotation applied.

    frame_indices: F >= 1 indices in presentation order, non-decreasing, counted from the first
    frame of the clip; repeats are allowed. size: see `read_frames`. threads: how many groups of
    pictures are decoded at a time; the frames do not depend on it.

    Raises MediaError for whatever is wrong with the file (reason "truncated" when it has fewer
    frames than asked for), ValueError for indices that are empty, negative or decreasing.
    """
    indices = [int(index) for index in frame_indices]
    if not indices or indices[0] < 0 or indices != sorted(indices):
        raise ValueError(f"frame_indices must be non-decreasing and >= 0, got {indices[:16]}")

    def choose(times: Sequence[float] | None, keys: Sequence[int]) -> list[int]:
        if times is None:
            return indices
        first, stop = clip_frames(ref, times)
        _check_enough(ref.path, stop - first, indices)
        return [first + index for index in indices]

    needs_times = (ref.start_s, ref.end_s) != (None, None)
    return _decode(ref, choose, _Output(size), needs_times=needs_times, threads=threads)


def preview_frames(ref: MediaRef, count: int, side: int) -> np.ndarray:
    """At most `count` small frames spread over a clip -> uint8[F, h, w, 3], longest side `side`
    pixels or the clip's.

    Approximate on purpose, to be cheap: a key frame stands in for the frame at an even place where
    one lies within a quarter of the distance between two places, since decoding up to the
    frame itself is most of the cost. Raises MediaError.
    """

    def choose(times: Sequence[float], keys: Sequence[int]) -> list[int]:
        first, stop = clip_frames(ref, times)
        places = first + uniform_frame_indices(times[first:stop], count)
        slack = PREVIEW_SLACK * (times[stop - 1] - times[first]) / max(len(places) - 1, 1)
        keys = [key for key in keys if first <= key < stop]
        return [_nearest_within(int(place), keys, times, slack) for place in places]

    return _decode(ref, choose, _Output(preview_side=side), needs_times=True)


def read_image(ref: MediaRef) -> np.ndarray:
    """An image file -> uint8[H, W, 3], RGB: EXIF orientation applied, transparency over white,
    grey repeated, 16 bits reduced to 8, the first picture of an animation.

    Raises MediaError.
    """
    path = ref.path
    data, header = load_image(path)
    # OpenCV would apply the orientation to some formats only, so it is told not to.
    keep_alpha = header.format in ("png", "webp", "gif")
    flags = cv2.IMREAD_UNCHANGED if keep_alpha else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        full = error.code == cv2.Error.StsNoMem
        raise MediaError(path, "out_of_memory" if full else "corrupt", str(error)) from error
    if pixels is None:
        raise MediaError(path, "corrupt", f"the {header.format} data cannot be decoded")
    if pixels.shape[:2] != (header.height, header.width):
        raise MediaError(
            path,
            "corrupt",
            f"header says {header.width}x{header.height}, data {pixels.shape[1]}x{pixels.shape[0]}",
        )
    return np.ascontiguousarray(_oriented(_to_rgb(pixels), header.orientation))


# ── Videos. ─────────────────────────────────────────────────────────────────────────────────────


class _Choose(Protocol):
    def __call__(self, times: Sequence[float] | None, keys: Sequence[int], /) -> list[int]:
        """Indices of the wanted frames, in order.

        times: of all frames, seconds; None if they were not asked for and are not known without
        decoding. keys: indices of the key frames, ascending.
        """
        ...


@dataclasses.dataclass(frozen=True)
class _Output:
    """What becomes of a picture: it is resized, made a preview, or left as it is."""

    size: Size | None = None
    preview_side: int = 0  # pixels; 0: no preview

    def finish(self, picture: np.ndarray) -> np.ndarray:
        if self.preview_side:
            height, width = _preview_size(picture.shape[:2], self.preview_side)
            return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
        return picture if self.size is None else resize(picture, *self.size)


class _Converter:
    """Converts frames of one clip to uint8[H, W, 3] RGB as displayed.

    A stream may change its picture size half-way; the clip has one size, that of its first frame.
    """

    def __init__(self, path: str, first: av.VideoFrame, output: _Output):
        self._path = path
        self._output = output
        self._size = displayed_size(first)[::-1]
        self._interpolation = "BILINEAR"  # of the colour planes; PyAV's default
        if output.preview_side:  # no full-size RGB picture is made
            self._size = _preview_size(self._size, output.preview_side)
            self._interpolation = "AREA"
        self._reformatter = VideoReformatter()  # kept: setting up a conversion costs more than one

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        if frame.is_corrupt:
            raise MediaError(self._path, "corrupt", f"the frame at {frame.time} s is damaged")
        check_pixels(self._path, frame.width, frame.height)
        turns = quarter_turns(frame)
        height, width = self._size[::-1] if turns % 2 else self._size
        array = self._reformatter.reformat(
            frame, width, height, "rgb24", interpolation=self._interpolation, threads=1
        ).to_ndarray()
        return self._output.finish(np.rot90(array, turns) if turns else array)


def _decode(
    ref: MediaRef, choose: _Choose, output: _Output, *, needs_times: bool, threads: int = 1
) -> np.ndarray:
    """The frames that `choose` picks -> uint8[F, H, W, 3]."""
    if is_frame_folder(ref.path):
        return _read_folder(ref.path, choose, output)
    with open_video(ref.path) as video:
        table = frame_table(video)
        if table is not None:
            keys = np.searchsorted(table.pts, table.keys).tolist()
            wanted = choose(frame_times(video, table)[1], keys)
            frames = _decode_planned(video, table, set(wanted), output, threads)
            if frames is not None:
                return np.stack([frames[index] for index in wanted])
    places = None
    if table is not None:
        places = {pts: i for i, pts in enumerate(table.pts)}
    else:
        times = None
        if needs_times:
            with open_video(ref.path) as video:
                times = frame_times(video, None)[1]
        wanted = choose(times, ())
    with open_video(ref.path) as video:
        frames = _decode_in_order(video, places, set(wanted), output)
    return np.stack([frames[index] for index in wanted])


def _decode_planned(
    video: Video, table: FrameTable, wanted: set[int], output: _Output, threads: int
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

    def decode(video: Video, keys: Sequence[int]) -> dict[int, np.ndarray]:
        convert = _Converter(video.path, table.first, output)
        frames: dict[int, np.ndarray] = {}
        for key in keys:
            try:
                video.container.seek(key, stream=video.stream, backward=True)
            except av.error.FFmpegError:
                break
            frames |= _decode_group(video, groups[key], convert)
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
        frames = decode(video, here)
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
    video: Video, group: dict[int, int], convert: _Converter
) -> dict[int, np.ndarray]:
    """{index: frame} for those of `group` ({pts: index}) met from here to its last pts."""
    frames: dict[int, np.ndarray] = {}
    last = max(group)
    context = video.stream.codec_context
    skips = context.name in SKIPPABLE_CODECS
    for packet in video.container.demux(video.stream):
        if skips:
            context.skip_frame = "DEFAULT" if packet.pts in group or not packet.size else "NONREF"
        for frame in packet.decode():
            if frame.pts in group:
                frames[group[frame.pts]] = convert(frame)
            if len(frames) == len(group) or (frame.pts is not None and frame.pts > last):
                return frames
    return frames


def _decode_in_order(
    video: Video, places: dict[int, int] | None, wanted: set[int], output: _Output
) -> dict[int, np.ndarray]:
    """The wanted frames by index, decoding from the start.

    places: {pts: index} where the timestamps are known, None to count the frames instead.
    """
    frames: dict[int, np.ndarray] = {}
    convert = None
    found = 0
    for frame in video.container.decode(video.stream):
        index = found if places is None else places.get(frame.pts)
        found += 1
        convert = convert or _Converter(video.path, frame, output)
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


def _read_folder(path: str, choose: _Choose, output: _Output) -> np.ndarray:
    """The frames that `choose` picks among the pictures of a folder; all of the first's size."""
    folder = frame_folder(path)
    count = len(folder.files)
    with in_folder(path, folder.files[0]):
        width, height = load_image(folder.files[0])[1].displayed_size
    frames: dict[int, np.ndarray] = {}
    wanted = choose([i / folder.fps for i in range(count)], range(count))
    for index in set(wanted):
        with in_folder(path, folder.files[index]):
            picture = read_image(MediaRef("image", folder.files[index]))
        check_pixels(path, picture.shape[1], picture.shape[0])
        frames[index] = output.finish(resize(picture, height, width))
    return np.stack([frames[index] for index in wanted])


def _check_enough(path: str, found: int, indices: Sequence[int]) -> None:
    if indices[-1] >= found:
        raise MediaError(
            path, "truncated", f"has {found} frames, frame {indices[-1]} (from 0) was asked for"
        )


def _nearest_within(place: int, keys: Sequence[int], times: Sequence[float], slack: float) -> int:
    """The nearest of `keys` (ascending) if it is at most `slack` seconds away, else `place`."""
    after = bisect.bisect_left(keys, place)
    near = [key for key in keys[max(after - 1, 0) : after + 1]]
    near = [key for key in near if abs(times[key] - times[place]) <= slack]
    return min(near, key=lambda key: abs(times[key] - times[place]), default=place)


def _preview_size(size: Size, side: int) -> Size:
    """(height, width) shrunk so that the longer side has at most `side` pixels."""
    scale = min(1.0, side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


# ── Images. ─────────────────────────────────────────────────────────────────────────────────────


def _to_rgb(pixels: np.ndarray) -> np.ndarray:
    """OpenCV's grey, BGR or BGRA of 8 or 16 bits -> uint8[H, W, 3] RGB, alpha over white."""
    if pixels.dtype == np.uint16:
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if pixels.ndim == 2:
        return cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)
    if pixels.shape[2] == 3:
        return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    alpha = pixels[:, :, 3:].astype(np.uint16)
    blended = (pixels[:, :, :3] * alpha + 255 * (255 - alpha) + 127) // 255
    return cv2.cvtColor(blended.astype(np.uint8), cv2.COLOR_BGR2RGB)


def _oriented(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Applies an EXIF orientation (TIFF 6.0, tag 274): 2-4 flips, 5-8 exchange the axes."""
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    # After the exchange, 5-8 need the flips of 1, 2, 3, 4 in this order: none, left-right
    # (a clockwise turn), both, up-down.
    flip = {1: (1, 1), 2: (1, -1), 3: (-1, -1), 4: (-1, 1)}
    vertical, horizontal = flip[orientation if orientation <= 4 else orientation - 4]
    return pixels[::vertical, ::horizontal]
