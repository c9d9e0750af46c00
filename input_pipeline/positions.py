"""Every index the model needs, computed on the host: M-RoPE positions, windows, frames, coords.

Follows Qwen2.5-VL (technical report arXiv:2502.13923 §2.1; transformers `get_rope_index` and
`get_vision_window_index`), vectorised over patches and tokens.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence

import numpy as np

from input_pipeline.layout import MediaLayout, VisionLayoutSpec


@dataclasses.dataclass(frozen=True)
class VisionIndices:
    """Indices of one medium's P = t·h·w patches and M = P / merge² merged units.

    order:   int32[M]    window order → reading order (t, h, w) of the merged units
    inverse: int32[M]    reading order → window order
    coords:  int32[P, 2] (row, column) of each patch in its frame, patches in window order
    frames:  int32[P]    temporal grid of each patch, from 0
    windows: int32[P]    attention window of each patch, from 0, counted over all temporal grids
    """

    order: np.ndarray
    inverse: np.ndarray
    coords: np.ndarray
    frames: np.ndarray
    windows: np.ndarray


@dataclasses.dataclass(frozen=True)
class ExpandedText:
    """A conversation with every placeholder expanded to its visual tokens; n positions.

    tokens:       int32[n]
    positions:    int32[n, 3] M-RoPE (t, h, w), from 0
    visual_index: int32[n]    merged patch of each visual token, counted over the example's media
                              in reading order and in window order inside each; -1 for text
    source:       int32[n]    position in the unexpanded ids
    """

    tokens: np.ndarray
    positions: np.ndarray
    visual_index: np.ndarray
    source: np.ndarray


def vision_indices(grid: tuple[int, int, int], spec: VisionLayoutSpec) -> VisionIndices:
    """Patch and window indices of a medium with `grid` = (t, h, w) patches.

    Windows are squares of window_pixels / (patch_size · merge_size) merged units, row by row;
    those at the right and lower edges are smaller. Results are shared and read-only.
    """
    window_units = spec.window_pixels // spec.factor
    return _vision_indices(tuple(grid), spec.merge_size, window_units)


@functools.lru_cache(maxsize=256)
def _vision_indices(grid: tuple[int, int, int], merge: int, window_units: int) -> VisionIndices:
    t, h, w = grid
    rows, columns = np.divmod(np.arange(h * w // merge**2), w // merge)
    across = -(-(w // merge) // window_units)
    window = rows // window_units * across + columns // window_units
    # A stable sort keeps the row-major order inside each window.
    order = np.argsort(window, kind="stable")
    units = len(order)
    down_up, left_right = np.divmod(np.arange(merge**2), merge)
    coords = np.stack(
        [
            rows[order][:, None] * merge + down_up,
            columns[order][:, None] * merge + left_right,
        ],
        axis=-1,
    ).reshape(-1, 2)
    grids = np.arange(t)
    windows_per_grid = int(window.max()) + 1
    inverse = np.argsort(order)
    arrays = (
        (order + grids[:, None] * units).reshape(-1),
        (inverse + grids[:, None] * units).reshape(-1),
        np.tile(coords, (t, 1)),
        np.repeat(grids, h * w),
        (np.repeat(window[order], merge**2) + grids[:, None] * windows_per_grid).reshape(-1),
    )
    arrays = tuple(array.astype(np.int32) for array in arrays)
    for array in arrays:
        array.flags.writeable = False
    return VisionIndices(*arrays)


def temporal_ids(medium: MediaLayout, spec: VisionLayoutSpec) -> np.ndarray:
    """M-RoPE time of each temporal grid -> int32[T], from 0, in 1 / tokens_per_second seconds.

    0 for an image. For a clip floor(i · seconds_per_grid · tokens_per_second), where
    seconds_per_grid is temporal_patch_size times the seconds that one sampled frame stands for;
    `spec.time_mode` "hf_int" cuts it to whole seconds first.
    """
    grids = medium.grid[0]
    if medium.kind == "image":
        return np.zeros(grids, np.int32)
    # float32, as in torch: it also absorbs the rounding of the duration, so that an interval
    # of 2 - 1e-15 does not fall to 1.
    seconds_per_grid = np.float32(medium.interval * spec.temporal_patch_size)
    if spec.time_mode == "hf_int":
        seconds_per_grid = np.trunc(seconds_per_grid)
    step = np.float32(spec.tokens_per_second) * seconds_per_grid
    return np.floor(np.arange(grids, dtype=np.float32) * step).astype(np.int32)


def expand_text(
    ids: np.ndarray,
    media: Sequence[MediaLayout],
    spec: VisionLayoutSpec,
    media_ids: Mapping[str, int],
) -> ExpandedText:
    """Expands placeholders into visual tokens and computes their 3-D positions.

    ids: int32[m], one placeholder for each of `media` in order; media_ids: placeholder id by kind.
    A text token has one position on all axes. A medium spans (t, h, w) from the next free position,
    and the text after it goes on at the largest position used on any axis + 1 (the rule that
    Qwen2.5-VL was trained with).

    Raises ValueError if the placeholders are not those of `media`.
    """
    kinds = {token: kind for kind, token in media_ids.items()}
    places = np.flatnonzero(np.isin(ids, list(kinds)))
    if [kinds[int(ids[place])] for place in places] != [medium.kind for medium in media]:
        raise ValueError(
            f"the text has {len(places)} media placeholders, in kind or number not those of the "
            f"{len(media)} media laid out: prepare the index again"
        )
    lengths = np.ones(len(ids), np.int64)
    extents = np.ones(len(ids), np.int64)
    offsets = [_grid_offsets(medium, spec) for medium in media]
    for place, medium, offset in zip(places, media, offsets, strict=True):
        lengths[place] = medium.tokens
        extents[place] = offset.max() + 1
    source = np.repeat(np.arange(len(ids), dtype=np.int32), lengths)
    starts = np.cumsum(extents) - extents
    positions = np.repeat(starts[source][:, None], 3, axis=1)
    visual_index = np.full(len(source), -1, np.int32)
    token_starts = np.cumsum(lengths) - lengths
    merged = 0
    for place, medium, offset in zip(places, media, offsets, strict=True):
        span = slice(token_starts[place], token_starts[place] + medium.tokens)
        positions[span] += offset
        visual_index[span] = merged + vision_indices(medium.grid, spec).inverse
        merged += medium.tokens
    return ExpandedText(
        np.asarray(ids, np.int32)[source], positions.astype(np.int32), visual_index, source
    )


def _grid_offsets(medium: MediaLayout, spec: VisionLayoutSpec) -> np.ndarray:
    """int32[M, 3]: (t, h, w) of the medium's tokens in reading order, from 0."""
    _, h, w = medium.grid
    axes = (
        temporal_ids(medium, spec),
        np.arange(h // spec.merge_size, dtype=np.int32),
        np.arange(w // spec.merge_size, dtype=np.int32),
    )
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
