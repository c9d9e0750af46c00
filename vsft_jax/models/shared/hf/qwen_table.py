"""Tensors that checkpoints of Qwen3-VL and Qwen3.5 have in common."""

from vsft_jax.models.shared.hf.table import Tensor, linear, norm, tensor
from vsft_jax.models.shared.qwen import PositionedVisionConfig


def tower_rows(vision: PositionedVisionConfig) -> list[Tensor]:
    """The tower and the merger of its output."""
    tower, block, depth = "model.visual", "visual/blocks", vision.depth
    layer = f"{tower}.blocks.{{i}}"
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
    return rows + merger_rows(f"{tower}.merger", "merger")


def merger_rows(theirs: str, ours: str, depth: int = 0) -> list[Tensor]:
    """One merger, or a stack of them."""
    rows = norm(f"{theirs}.norm", f"{ours}/norm", depth, bias=True)
    rows += linear(f"{theirs}.linear_fc1", f"{ours}/fc1", depth=depth, bias=True)
    return rows + linear(f"{theirs}.linear_fc2", f"{ours}/fc2", depth=depth, bias=True)


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
