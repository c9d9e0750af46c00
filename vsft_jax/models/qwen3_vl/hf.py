"""transformers' Qwen3-VL checkpoints: names and layout of their tensors."""

from typing import Any

from vsft_jax.models.qwen3_vl.config import ModelConfig
from vsft_jax.models.qwen3_vl.layout import Layout
from vsft_jax.models.shared.hf import qwen as qwen_hf
from vsft_jax.models.shared.hf.table import Tensor, decoder_rows, linear, norm, tensor


def checkpoint_table(config: ModelConfig) -> list[Tensor]:
    """Every tensor of a checkpoint. Each parameter is a part of exactly one."""
    vision = config.vision
    tower, block, depth = "model.visual", "visual/blocks", vision.depth
    layer, taps = f"{tower}.blocks.{{i}}", len(vision.deepstack_layers)
    rows = [
        tensor(
            f"{tower}.patch_embed.proj.weight",
            "visual/patch_embed/kernel",
            transpose=True,
            shape=(
                vision.width,
                3,
                vision.temporal_patch_size,
                vision.patch_size,
                vision.patch_size,
            ),
        ),
        tensor(f"{tower}.patch_embed.proj.bias", "visual/patch_embed/bias"),
        tensor(f"{tower}.pos_embed.weight", "visual/position"),
    ]
    rows += norm(f"{layer}.norm1", f"{block}/norm1", depth, bias=True)
    rows += norm(f"{layer}.norm2", f"{block}/norm2", depth, bias=True)
    qkv = [f"{block}/{part}" for part in "qkv"]
    rows += linear(f"{layer}.attn.qkv", *qkv, depth=depth, bias=True)
    rows += linear(f"{layer}.attn.proj", f"{block}/o", depth=depth, bias=True)
    rows += linear(f"{layer}.mlp.linear_fc1", f"{block}/mlp/up", depth=depth, bias=True)
    rows += linear(f"{layer}.mlp.linear_fc2", f"{block}/mlp/down", depth=depth, bias=True)
    for theirs, ours, count in (
        (f"{tower}.merger", "merger", 0),
        (f"{tower}.deepstack_merger_list.{{i}}", "merger/deepstack", taps),
    ):
        rows += norm(f"{theirs}.norm", f"{ours}/norm", count, bias=True)
        rows += linear(f"{theirs}.linear_fc1", f"{ours}/fc1", depth=count, bias=True)
        rows += linear(f"{theirs}.linear_fc2", f"{ours}/fc2", depth=count, bias=True)
    return rows + decoder_rows(config.text)


def canonical_name(name: str) -> str:
    """A tensor's name in the table. The models were released under these names; a model without
    its head is saved with `visual.*` and `language_model.*`, and other software's flat layout is
    `visual.*` and `model.*`, as that of Qwen2.5-VL."""
    if name.startswith(("visual.", "language_model.")):
        return f"model.{name}"
    if name.startswith("model.") and not name.startswith(
        ("model.visual.", "model.language_model.")
    ):
        return name.replace("model.", "model.language_model.", 1)
    return name


def released_name(name: str) -> str:
    """The published name of one of the table's tensors: the same."""
    return name


def processor_files(config: ModelConfig, layout: Layout) -> dict[str, dict[str, Any]]:
    """Name and content of the files from which transformers makes the model's processor.

    The sizes are the layout's but for `video_min_pixels`, which they have no place for: a smallest
    size is that of a whole clip (`clip_min_pixels`). transformers before version 5 knows no limit
    for a single frame.
    """
    shared = {**qwen_hf.pixels_to_hf(config.vision), "processor_class": "Qwen3VLProcessor"}
    least = layout.clip_min_pixels or layout.video_min_pixels
    most = round(layout.video_total_pixels * layout.temporal_patch_size)
    video: dict[str, Any] = {
        "video_processor_type": "Qwen3VLVideoProcessor",
        "size": {"shortest_edge": least, "longest_edge": most},
        "cap_pixels_per_frame": layout.video_max_pixels is not None,
        **shared,
    }
    if layout.video_max_pixels is not None:
        tokens = layout.video_max_pixels / layout.factor**2  # of a frame
        video["max_video_tokens"] = int(tokens) if tokens.is_integer() else tokens
    return {
        "preprocessor_config.json": {
            "image_processor_type": "Qwen2VLImageProcessor",
            "size": {
                "shortest_edge": layout.image_min_pixels,
                "longest_edge": layout.image_max_pixels,
            },
            **shared,
        },
        "video_preprocessor_config.json": video,
    }
