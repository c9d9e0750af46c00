"""transformers' Qwen2.5-VL checkpoints: names and layout of their tensors."""

from typing import Any

from vsft_jax.models.qwen2_5_vl.config import ModelConfig
from vsft_jax.models.qwen2_5_vl.layout import Layout
from vsft_jax.models.shared.hf import qwen as qwen_hf
from vsft_jax.models.shared.hf.table import Tensor, decoder_rows, linear, norm, tensor


def checkpoint_table(config: ModelConfig) -> list[Tensor]:
    """Every tensor of a checkpoint. Each parameter is a part of exactly one."""
    vision = config.vision
    patch = (vision.temporal_patch_size, vision.patch_size, vision.patch_size)
    tower, block, depth = "model.visual", "visual/blocks", vision.depth
    layer = f"{tower}.blocks.{{i}}"
    rows = [
        tensor(
            f"{tower}.patch_embed.proj.weight",
            "visual/patch_embed/kernel",
            transpose=True,
            shape=(vision.width, 3, *patch),
        )
    ]
    rows += norm(f"{layer}.norm1", f"{block}/norm1", depth)
    rows += norm(f"{layer}.norm2", f"{block}/norm2", depth)
    qkv = [f"{block}/{part}" for part in "qkv"]
    rows += linear(f"{layer}.attn.qkv", *qkv, depth=depth, bias=True)
    rows += linear(f"{layer}.attn.proj", f"{block}/o", depth=depth, bias=True)
    for part in ("gate", "up", "down"):
        rows += linear(f"{layer}.mlp.{part}_proj", f"{block}/mlp/{part}", depth=depth, bias=True)
    rows += norm(f"{tower}.merger.ln_q", "merger/norm")
    rows += linear(f"{tower}.merger.mlp.0", "merger/fc1", bias=True)
    rows += linear(f"{tower}.merger.mlp.2", "merger/fc2", bias=True)
    return rows + decoder_rows(config.text)


def canonical_name(name: str) -> str:
    """A tensor's name in the table; checkpoints hold `visual.*` / `model.*`, as released, or
    `model.visual.*` / `model.language_model.*`, as some versions of transformers write."""
    if name.startswith("visual."):
        return f"model.{name}"
    if name.startswith("model.") and not name.startswith(
        ("model.visual.", "model.language_model.")
    ):
        return name.replace("model.", "model.language_model.", 1)
    return name


def released_name(name: str) -> str:
    """The published name of one of the table's tensors."""
    return name.replace("model.language_model.", "model.").replace("model.visual.", "visual.")


def processor_files(config: ModelConfig, layout: Layout) -> dict[str, dict[str, Any]]:
    """Name and content of the files from which transformers makes the model's processor.

    The sizes are the layout's; transformers before 5 knows no limit for a whole clip. How many
    frames a clip gets is left to whoever calls the processor.
    """
    shared = {
        **qwen_hf.pixels_to_hf(config.vision),
        "processor_class": "Qwen2_5_VLProcessor",
    }
    image, video = (
        {
            "min_pixels": low,
            "max_pixels": high,
            "size": {"shortest_edge": low, "longest_edge": high},
            **shared,
        }
        for low, high in (
            (layout.image_min_pixels, layout.image_max_pixels),
            (layout.video_min_pixels, layout.video_max_pixels),
        )
    )
    image["image_processor_type"] = "Qwen2VLImageProcessor"
    video["video_processor_type"] = "Qwen2VLVideoProcessor"
    video["cap_pixels_per_frame"] = layout.video_total_pixels is not None
    if layout.video_total_pixels is not None:
        # transformers shares 90 % of so many tokens out among the frames, in whole pixels.
        tokens = (layout.video_total_pixels + 0.5) / (0.9 * layout.factor**2)
        video["max_video_tokens"] = tokens
    return {"preprocessor_config.json": image, "video_preprocessor_config.json": video}
