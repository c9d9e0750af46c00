"""Rows of a few hundred tokens and patches."""

from input_pipeline.batches import RowShape
from vsft_jax.models.qwen2_5_vl.layout import Layout

RULES = Layout(image_min_pixels=784, video_min_pixels=784)
SHAPE = RowShape(tokens=192, patches=256)
TEXT_FIELDS = {"tokens", "positions", "segment_ids", "targets", "loss_weights", "visual_index"}
PATCH_FIELDS = {"patches", "patch_coords", "patch_frames", "patch_windows"}
