"""Every index the model needs, computed on the host: positions, windows, frames, coordinates.

Windows follow Qwen2.5-VL (technical report arXiv:2502.13923 §2.1; transformers
`get_vision_window_index`); all is vectorised over patches and tokens.
"""

import collections
import dataclasses
import functools
from collections.abc import Mapping, Sequence

import numpy as np

from input_pipeline.layout.vision_layout import MediaLayout, VisionLayout


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
    positions:    int32[n, 3], from 0
    visual_index: int32[n, K]  visual feature of each visual token, counted over the example's media
                               in their order; `layout.NEWLINE` for a newline, -1 for text
    visual_weights: float32[n, K], or None where K = 1
    source:       int32[n]     position in the unexpanded ids
    """

    tokens: np.ndarray
    positions: np.ndarray
    visual_index: np.ndarray
    visual_weights: np.ndarray | None
    source: np.ndarray


def vision_indices(
    grid: tuple[int, int, int], merge: int, window_units: int | None
) -> VisionIndices:
    """Patch and window indices of a medium with `grid` = (t, h, w) patches.

    merge: side of a visual token in patches. Windows are squares of window_units merged units a
    side, row by row; those at the right and lower edges are smaller. None: a window is a frame.
    Results are shared and read-only.
    """
    whole = max(grid[1:]) // merge
    return _vision_indices(tuple(grid), merge, window_units or whole)


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
    shared = [array.astype(np.int32) for array in arrays]
    for array in shared:
        array.flags.writeable = False
    return VisionIndices(*shared)


def expand_text(
    ids: np.ndarray,
    media: Sequence[MediaLayout],
    spec: VisionLayout,
    media_ids: Mapping[str, int],
) -> ExpandedText:
    """Expands placeholders into visual tokens and computes all positions.

    ids: int32[m], with the placeholders of `media`; media_ids: placeholder id by kind. A chat
    template may put images before clips: each placeholder belongs to the next medium of its kind.
    A text token has one position on all axes. A medium spans what its `blocks` say from the next
    free position, and the text after it goes on at the largest position used on any axis + 1 (the
    rule that Qwen2.5-VL was trained with).

    Raises ValueError if the placeholders are not those of `media`.
    """
    places = np.flatnonzero(np.isin(ids, list(media_ids.values())))
    waiting: dict[int, list] = {}  # placeholder id -> blocks, with the medium's first feature
    features = 0
    for medium in media:
        queue = waiting.setdefault(media_ids[medium.kind], [])
        queue += [(block, features) for block in spec.blocks(medium)]
        features += medium.patches // spec.patches_per_unit
    found = collections.Counter(ids[places].tolist())
    if found != {token: len(queue) for token, queue in waiting.items()}:
        raise ValueError(
            f"the text has {len(places)} media placeholders, in kind or number not those of the "
            f"{len(media)} media laid out: prepare the index again"
        )
    blocks = {int(place): waiting[int(ids[place])].pop(0) for place in places}

    lengths = np.ones(len(ids), np.int64)
    extents = np.ones(len(ids), np.int64)
    for place, (block, _) in blocks.items():
        lengths[place] = len(block.offsets)
        extents[place] = block.offsets.max() + 1
    source = np.repeat(np.arange(len(ids), dtype=np.int32), lengths)
    starts = np.cumsum(extents) - extents
    positions = np.repeat(starts[source][:, None], 3, axis=1)
    visual_index = np.full((len(source), spec.taps), -1, np.int32)
    weights = np.zeros(visual_index.shape, np.float32) if spec.taps > 1 else None
    token_starts = np.cumsum(lengths) - lengths
    for place, (block, first) in blocks.items():
        span = slice(token_starts[place], token_starts[place] + lengths[place])
        positions[span] += block.offsets
        index = block.visual_index
        visual_index[span] = np.where(index < 0, index, index + first)
        if weights is not None:
            weights[span] = block.weights
    return ExpandedText(
        np.asarray(ids, np.int32)[source], positions.astype(np.int32), visual_index, weights, source
    )
