"""Pictures for towers of one fixed input size: fitting, tiles of a larger canvas, and the weighted
sums by which their features are pooled and shrunk.

Sizes are pixels, (height, width), unless said otherwise. Follows transformers
`image_processing_utils.py` (`select_best_resolution`, `get_patch_output_size`) and
`models/llava_next/modeling_llava_next.py` (`unpad_image`), to the same rounding.
"""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from input_pipeline.media import resize

Fit = Literal["crop", "pad", "stretch"]
FITS = ("crop", "pad", "stretch")
Size = tuple[int, int]


def fit_square(
    picture: np.ndarray, side: int, fit: Fit, background: Sequence[int] = (0, 0, 0)
) -> np.ndarray:
    """uint8[H, W, 3] -> uint8[side, side, 3].

    fit: "crop" resizes the shorter edge and keeps the centre; "pad" fills up to a square with
    `background` and resizes that; "stretch" ignores the aspect ratio.
    """
    height, width = picture.shape[:2]
    size = size_before_fit((height, width), side, fit)
    if size is None:
        longest = max(height, width)
        square = np.full((longest, longest, 3), background, np.uint8)
        top, left = (longest - height) // 2, (longest - width) // 2
        square[top : top + height, left : left + width] = picture
        return resize(square, side, side)
    sized = resize(picture, *size)
    top, left = (sized.shape[0] - side) // 2, (sized.shape[1] - side) // 2
    return sized[top : top + side, left : left + side]


def size_before_fit(size: Size, side: int, fit: Fit) -> Size | None:
    """What a picture may be resized to without a change to what `fit_square` makes of it; None
    where it has to stay as it is."""
    height, width = size
    if fit == "stretch" or height == width:
        return side, side
    if fit == "pad":
        return None
    longer = int(side * max(height, width) / min(height, width))
    return (side, longer) if height < width else (longer, side)


def best_canvas(size: Size, canvases: Sequence[Size]) -> Size:
    """The canvas that keeps most of the picture's pixels, and of those the one that wastes least;
    the first one listed where two are alike."""
    height, width = size

    def rank(canvas: Size) -> tuple[int, int]:
        scale = min(canvas[1] / width, canvas[0] / height)
        kept = min(int(width * scale) * int(height * scale), width * height)
        return kept, kept - canvas[0] * canvas[1]

    return max(canvases, key=rank)


def size_on_canvas(size: Size, canvas: Size) -> Size:
    """What a picture is resized to, aspect ratio kept, to fill a canvas in one direction."""
    down, across = canvas[0] / size[0], canvas[1] / size[1]
    if across < down:
        return min(math.ceil(size[0] * across), canvas[0]), canvas[1]
    return canvas[0], min(math.ceil(size[1] * down), canvas[1])


def paint(picture: np.ndarray, canvas: Size) -> np.ndarray:
    """uint8[H, W, 3], resized and centred on a black canvas -> uint8[*canvas, 3]."""
    height, width = size_on_canvas(picture.shape[:2], canvas)
    out = np.zeros((*canvas, 3), np.uint8)
    top, left = (canvas[0] - height) // 2, (canvas[1] - width) // 2
    out[top : top + height, left : left + width] = resize(picture, height, width)
    return out


def cut_tiles(canvas: np.ndarray, side: int) -> np.ndarray:
    """uint8[r · side, c · side, 3] -> uint8[r · c, side, side, 3], row by row."""
    height, width, channels = canvas.shape
    cut = canvas.reshape(height // side, side, width // side, side, channels)
    return cut.swapaxes(1, 2).reshape(-1, side, side, channels)


def unpadded(size: Size, grid: Size) -> tuple[slice, slice]:
    """Rows and columns of a feature grid that show a picture of `size`, not the canvas around it.

    grid: (rows, columns) of the whole canvas, in features.
    """
    (height, width), (rows, columns) = size, grid
    if width / height > columns / rows:
        shown = int(round(height * (columns / width), 7))
        margin = (rows - shown) // 2
        return slice(margin, rows - margin), slice(0, columns)
    shown = int(round(width * (rows / height), 7))
    margin = (columns - shown) // 2
    return slice(0, rows), slice(margin, columns - margin)


# ── Features as weighted sums of others: index and weight of each, four at the most. ────────────


def linear_taps(old: int, new: int) -> tuple[np.ndarray, np.ndarray]:
    """Linear interpolation along one axis, `old` places to `new` -> int32[new, 2], float32[new, 2].

    Places are the centres of equal cells; beyond the outermost centres the value stays. That is
    torch's `interpolate(mode="bilinear")` for an axis, and it does not blur before it shrinks.
    """
    centre = np.maximum((np.arange(new) + 0.5) * (old / new) - 0.5, 0.0)
    first = np.minimum(centre.astype(np.int32), old - 1)
    after = np.minimum(first + 1, old - 1)
    share = centre - first
    return np.stack([first, after], axis=1), np.stack([1 - share, share], 1).astype(np.float32)


def mean_taps(old: int, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """Means of `stride` neighbours along one axis -> int32[n, stride], float32[n, stride], where
    n = old // stride; a rest at the end is left out, as torch's `AvgPool2d` does."""
    index = np.arange(old // stride * stride, dtype=np.int32).reshape(-1, stride)
    return index, np.full(index.shape, 1 / stride, np.float32)


def grid_taps(
    features: np.ndarray,
    down: tuple[np.ndarray, np.ndarray],
    across: tuple[np.ndarray, np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """Both axes at once.

    features: int32[..., R, C], the number of the feature at each place.
    down, across: taps of the rows and columns, [r, k] and [c, l].
    Returns int32[..., r, c, k · l] and float32 of that shape.
    """
    rows, columns = down[0], across[0]
    index = features[..., rows[:, None, :, None], columns[None, :, None, :]]
    weights = down[1][:, None, :, None] * across[1][None, :, None, :]
    shape = (len(rows), len(columns), rows.shape[1] * columns.shape[1])
    index = index.reshape(*features.shape[:-2], *shape)
    return index, np.broadcast_to(weights.reshape(shape), index.shape)
