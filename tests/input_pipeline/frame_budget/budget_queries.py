"""Questions to frame budget policies, for their tests."""

import numpy as np

from input_pipeline.frame_budget import BudgetQuery
from input_pipeline.media import MediaInfo


class Preview:
    """Preview frames that differ from one to the next, and what was asked of them."""

    def __init__(self, seed: int = 0):
        self.seed, self.calls = seed, []

    def __call__(self, count: int, side: int = 64) -> np.ndarray:
        self.calls.append((count, side))
        rng = np.random.default_rng(self.seed)
        return rng.integers(0, 256, (count, side // 2, side, 3), dtype=np.uint8)


def query(
    instruction: str = "What colour is the car?",
    *,
    seconds: float = 18.0,
    frames: int = 400,
    preview=None,
    media_id: str = "",
    id: str = "x",
) -> BudgetQuery:
    """A question about a clip of `frames` frames."""
    times = tuple(i * seconds / frames for i in range(frames))
    info = MediaInfo("video", 64, 48, times, seconds)
    return BudgetQuery(id, instruction, info, preview or Preview(), media_id)
