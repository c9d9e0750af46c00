"""Pixels: chosen frames of a video, or one image, as RGB arrays.

Frames are identified by their presentation time, not by counting, so that seeking cannot return
a neighbour. For each group of pictures that holds a wanted frame the decoder seeks once, skips
pictures that no other depends on, and stops right behind the last wanted one.
"""

import bisect
from collections.abc import Sequence

import av
import cv2
import numpy as np
from av.container import InputContainer
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from input_pipeline.media import (
    MediaError,
    PacketTable,
    check_pixels,
    displayed_size,
    load_image,
    open_video,
    quarter_turns,
    read_packet_table,
)

# Codecs whose decoders skip exactly the pictures that nothing refers to.
SKIPPABLE_CODECS = frozenset({"h264", "hevc"})


def decode_frames(path: str, frame_indices: Sequence[int]) -> np.ndarray:
    """Chosen frames of a video -> uint8[F, H, W, 3], RGB, rotation applied.

    frame_indices: F >= 1 indices in presentation order, non-decreasing; repeats are allowed.

    Raises MediaError for whatever is wrong with the file (reason "truncated" when it has fewer
    frames than asked for), ValueError for indices that are empty, negative or decreasing.
    """
    indices = [int(index) for index in frame_indices]
    if not indices or indices[0] < 0 or indices != sorted(indices):
        raise ValueError(f"frame_indices must be non-decreasing and >= 0, got {indices[:16]}")
    with open_video(path) as (container, stream):
        table = read_packet_table(path, container, stream)
        if table is not None:
            _check_enough(path, len(table.pts), indices)
            frames = _decode_planned(path, container, stream, table, set(indices))
            if frames is not None:
                return np.stack([frames[index] for index in indices])
    with open_video(path) as (container, stream):
        places = None if table is None else {pts: i for i, pts in enumerate(table.pts)}
        frames = _decode_in_order(path, container, stream, places, set(indices))
    return np.stack([frames[index] for index in indices])


def read_image(path: str) -> np.ndarray:
    """An image file -> uint8[H, W, 3], RGB: EXIF orientation applied, transparency over white,
    grey repeated, 16 bits reduced to 8, the first picture of an animation.

    Raises MediaError.
    """
    data, header = load_image(path)
    # OpenCV would apply the orientation to some formats only, so it is told not to.
    keep_alpha = header.format in ("png", "webp", "gif")
    flags = cv2.IMREAD_UNCHANGED if keep_alpha else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise MediaError(path, "corrupt", str(error)) from error
    if pixels is None:
        raise MediaError(path, "corrupt", f"the {header.format} data cannot be decoded")
    if pixels.shape[:2] != (header.height, header.width):
        raise MediaError(
            path,
            "corrupt",
            f"header says {header.width}x{header.height}, data {pixels.shape[1]}x{pixels.shape[0]}",
        )
    return np.ascontiguousarray(_oriented(_to_rgb(pixels), header.orientation))


def _check_enough(path: str, found: int, indices: Sequence[int]) -> None:
    if indices[-1] >= found:
        raise MediaError(
            path, "truncated", f"has {found} frames, frame {indices[-1]} (from 0) was asked for"
        )


class _ToRgb:
    """Converts frames of one clip to uint8[H, W, 3] RGB as displayed.

    A stream may change its picture size half-way; the clip has one size, that of its first frame.
    """

    def __init__(self, path: str, first: av.VideoFrame):
        self._path = path
        self._size = displayed_size(first)
        self._reformatter = VideoReformatter()  # kept: setting up a conversion costs more than one

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        if frame.is_corrupt:
            raise MediaError(self._path, "corrupt", f"the frame at {frame.time} s is damaged")
        check_pixels(self._path, frame.width, frame.height)
        turns = quarter_turns(frame)
        width, height = self._size[::-1] if turns % 2 else self._size
        array = self._reformatter.reformat(frame, width, height, "rgb24", threads=1).to_ndarray()
        return np.rot90(array, turns) if turns else array


def _decode_planned(
    path: str,
    container: InputContainer,
    stream: VideoStream,
    table: PacketTable,
    wanted: set[int],
) -> dict[int, np.ndarray] | None:
    """The wanted frames by index, one seek a group of pictures; None if one did not come out."""
    groups: dict[int, dict[int, int]] = {}  # key frame's pts -> {wanted pts: index}
    for index in sorted(wanted):
        pts = table.pts[index]
        key = table.keys[max(bisect.bisect_right(table.keys, pts) - 1, 0)] if table.keys else 0
        groups.setdefault(key, {})[pts] = index
    to_rgb = _ToRgb(path, table.first)
    skips = stream.codec_context.name in SKIPPABLE_CODECS
    frames: dict[int, np.ndarray] = {}
    for key, group in groups.items():
        try:
            container.seek(key, stream=stream, backward=True)
        except av.error.FFmpegError:
            return None
        frames |= _decode_group(container, stream, group, to_rgb, skips)
        if not frames.keys() >= set(group.values()):
            return None
    return frames


def _decode_group(
    container: InputContainer,
    stream: VideoStream,
    group: dict[int, int],
    to_rgb: _ToRgb,
    skips: bool,
) -> dict[int, np.ndarray]:
    """{index: frame} for those of `group` ({pts: index}) met from here to its last pts."""
    frames: dict[int, np.ndarray] = {}
    last = max(group)
    context = stream.codec_context
    for packet in container.demux(stream):
        if skips:
            context.skip_frame = "DEFAULT" if packet.pts in group or not packet.size else "NONREF"
        for frame in packet.decode():
            if frame.pts in group:
                frames[group[frame.pts]] = to_rgb(frame)
            if len(frames) == len(group) or (frame.pts is not None and frame.pts > last):
                return frames
    return frames


def _decode_in_order(
    path: str,
    container: InputContainer,
    stream: VideoStream,
    places: dict[int, int] | None,
    wanted: set[int],
) -> dict[int, np.ndarray]:
    """The wanted frames by index, decoding from the start.

    places: {pts: index} where the timestamps are known, None to count the frames instead.
    """
    frames: dict[int, np.ndarray] = {}
    to_rgb = None
    found = 0
    for frame in container.decode(stream):
        index = found if places is None else places.get(frame.pts)
        found += 1
        to_rgb = to_rgb or _ToRgb(path, frame)
        if index in wanted:
            frames[index] = to_rgb(frame)
            if len(frames) == len(wanted):
                return frames
    raise MediaError(
        path,
        "truncated",
        f"{found} frames could be decoded, {len(wanted - frames.keys())} of {len(wanted)} wanted "
        f"ones were not among them, the first is frame {min(wanted - frames.keys())} (from 0)",
    )


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
