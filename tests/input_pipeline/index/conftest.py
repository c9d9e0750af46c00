"""Files good and bad, and what they are prepared with."""

import cv2
import numpy as np
import pytest

from demo_world import write_tokenizer
from input_pipeline.index import IndexSpec
from tests.input_pipeline.media_fixtures import write_clip
from vsft_jax.models.qwen2_5_vl.layout import Layout

LAYOUT = Layout(
    image_min_pixels=28 * 28,
    image_max_pixels=112 * 112,
    video_min_pixels=28 * 28,
    video_max_pixels=56 * 56,
)


@pytest.fixture
def corpus(tmp_path):
    """A media root with good and bad files, and a tokenizer: (root, IndexSpec)."""
    root = tmp_path / "media"
    root.mkdir()
    write_clip(root / "good.mp4", frames=24)
    write_clip(root / "one.mp4", frames=1)
    (root / "garbage.mp4").write_bytes(b"this is no video at all" * 50)
    (root / "empty.mp4").write_bytes(b"")
    (root / "cut.mp4").write_bytes((root / "good.mp4").read_bytes()[:700])
    cv2.imwrite(str(root / "still.png"), np.full((64, 64, 3), 90, np.uint8))
    write_tokenizer(tmp_path / "tokenizer", ["How many times? two one three"])
    spec = IndexSpec(
        tokenizer_dir=str(tmp_path / "tokenizer"),
        layout=LAYOUT,
        frame_policy={"kind": "fixed", "frames": 16},
        max_tokens=512,
        max_patches=512,
    )
    return root, spec
