"""Pixels: cutting decoded frames into the patches that a vision tower reads."""

import numpy as np

from input_pipeline.layout.vision_layout import MediaLayout


def patchify(
    frames: np.ndarray, patch: int, pair: int = 1, merge: int = 1, *, channels_last: bool = False
) -> np.ndarray:
    """uint8[F, height, width, 3] -> uint8[t·h·w, C] in the reading order of transformers.

    patch: its side in pixels. pair: frames that a patch spans. merge: side in patches of what
    becomes one visual token. Rows are ordered (t, h / merge, w / merge, merge, merge), columns
    (channel, frame of the pair, patch row, patch column), or with channels_last
    (frame of the pair, patch row, patch column, channel). An image, or the odd last frame of a
    clip, is repeated to fill its pair. Height and width must be multiples of patch · merge.
    """
    missing = -len(frames) % pair
    if missing:
        frames = np.concatenate([frames, np.repeat(frames[-1:], missing, axis=0)])
    count, height, width, channels = frames.shape
    blocks = frames.reshape(
        count // pair,
        pair,
        height // (patch * merge),
        merge,
        patch,
        width // (patch * merge),
        merge,
        patch,
        channels,
    )
    columns = (1, 4, 7, 8) if channels_last else (8, 1, 4, 7)
    return blocks.transpose(0, 2, 5, 3, 6, *columns).reshape(-1, 3 * pair * patch**2)


def patch_order(side: int, merge: int) -> np.ndarray:
    """int32[side²]: the place, row by row, of each patch of a square in the order in which
    `patchify` cuts them."""
    places = np.arange(side**2, dtype=np.int32)
    blocks = places.reshape(side // merge, merge, side // merge, merge)
    return blocks.swapaxes(1, 2).reshape(-1)


def check_frames(frames: np.ndarray, medium: MediaLayout) -> None:
    """Raises ValueError if there are not as many decoded frames as were laid out."""
    if len(frames) != len(medium.frame_indices):
        raise ValueError(f"{len(frames)} frames decoded, {len(medium.frame_indices)} laid out")
