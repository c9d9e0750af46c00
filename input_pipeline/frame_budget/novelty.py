"""Visual novelty: how much a clip's picture changes, from a few small preview frames."""

import numpy as np

PREVIEW_SIDE = (
    32  # frames are averaged down to about this many blocks a side: noise goes, motion stays
)
CONTRAST_FLOOR = 4.0  # grey levels of 255: below it a picture is flat and its changes are noise


def novelty(frames: np.ndarray) -> float:
    """How different neighbouring preview frames are, relative to the picture's own contrast.

    frames: uint8[F, h, w, 3]. Returns a value >= 0: 0 when nothing changes, about 1 when
    neighbouring frames have no more in common than random pixels of the clip (cuts, a whirling
    camera). It is mean |x[f+1] - x[f]| over mean |x - y| of two random pixels of the clip (Gini's
    mean difference), both on block averages of grey values. Dividing by contrast makes a dark clip
    comparable with a bright one, and lets one small object that crosses a plain background count as
    much as a large one: what matters is whether the content moves, not how many pixels it covers.
    Fewer than two frames have no neighbours: 0.
    """
    if frames.ndim != 4 or frames.shape[-1] != 3:
        raise ValueError(f"preview frames must be uint8[F, h, w, 3], got shape {frames.shape}")
    if len(frames) < 2:
        return 0.0
    grey = _block_means(frames.mean(axis=-1, dtype=np.float64))
    change = np.abs(np.diff(grey, axis=0)).mean()
    return float(change / max(_gini_mean_difference(grey.ravel()), CONTRAST_FLOOR))


def _block_means(grey: np.ndarray) -> np.ndarray:
    """float[F, h, w] averaged over blocks that leave about PREVIEW_SIDE rows and columns."""
    _, height, width = grey.shape
    rows, columns = max(height // PREVIEW_SIDE, 1), max(width // PREVIEW_SIDE, 1)
    grey = grey[:, : height // rows * rows, : width // columns * columns]
    grey = grey.reshape(len(grey), height // rows, rows, width // columns, columns)
    return grey.mean(axis=(2, 4))


def _gini_mean_difference(values: np.ndarray) -> float:
    """Mean |x - y| over all pairs of distinct entries of float[n], by the sorted-order formula."""
    n = len(values)
    if n < 2:
        return 0.0
    ranks = 2 * np.arange(1, n + 1) - n - 1
    return float(2.0 * (ranks * np.sort(values)).sum() / (n * (n - 1)))
