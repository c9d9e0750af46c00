"""A batch: what one step is given."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

_HOST_FIELDS = ("example_ids", "failures")


@dataclasses.dataclass(frozen=True)
class RowShape:
    """Fixed size of every row: L text positions, N patches (whole visual features).

    slices: equal parts of it, one for each device that shares it; no grid lies on two of them.
    """

    tokens: int
    patches: int
    slices: int = 1


@dataclasses.dataclass
class Batch:
    """One step's input. B rows of L text positions and N patches, which make M visual features.

    tokens:        int32[B, L]     0 where padded
    positions:     int32[B, L, 3]  from 0 in every example; (t, h, w), or three times the same
    segment_ids:   int32[B, L]     0 padding, else 1, 2, … by example
    targets:       int32[B, L]     the token to predict at this position, 0 where there is none
    loss_weights:  float32[B, L]   1 where the target is part of an answer, else 0
    clips:         bool[B, L]      whether the position's example shows a video
    visual_index:  int32[B, L, K]  the row's visual feature that stands here, or K whose weighted
                                   sum does; -1 for text, `layout.NEWLINE` for a learned newline
    patches:       uint8[B, N, C]  raw RGB, columns (channel, frame of the pair, row, column)
    patch_coords:  int32[B, N, A]  place of the patch in its frame, as the family's tower needs it
    patch_frames:  int32[B, N]     0 padding, else 1, 2, … by temporal grid
    patch_windows: int32[B, N]     0 padding, else 1, 2, … by attention window
    visual_weights: float32[B, L, K] only where K > 1

    On the host only: example_ids of each row, and failures, one record {id, source, path, reason,
    detail} for every example whose media could not be decoded. Such an example keeps its place with
    loss weights of 0 and patches of 0.

    Patches come in the order of the media, temporal grids in order, in a grid by windows, those of
    one visual feature together: windows, grids and features are contiguous runs. In rows of several
    slices padding may stand between grids.
    """

    tokens: np.ndarray
    positions: np.ndarray
    segment_ids: np.ndarray
    targets: np.ndarray
    loss_weights: np.ndarray
    clips: np.ndarray
    visual_index: np.ndarray
    patches: np.ndarray
    patch_coords: np.ndarray
    patch_frames: np.ndarray
    patch_windows: np.ndarray
    example_ids: list[list[str]]
    failures: list[dict[str, str]]
    visual_weights: np.ndarray | None = None


def stack_rows(rows: Sequence[dict[str, Any]]) -> Batch:
    """B rows of `build_row` -> Batch."""
    names = [name for name in rows[0] if name not in _HOST_FIELDS]
    return Batch(
        **{name: np.stack([row[name] for row in rows]) for name in names},
        example_ids=[row["example_ids"] for row in rows],
        failures=[failure for row in rows for failure in row["failures"]],
    )


def device_arrays(batch: Batch) -> dict[str, np.ndarray]:
    """The fields that go to the device, by name."""
    return {
        name: value
        for name, value in vars(batch).items()
        if name not in _HOST_FIELDS and value is not None
    }
