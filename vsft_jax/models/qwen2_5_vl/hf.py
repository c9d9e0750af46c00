"""transformers' Qwen2.5-VL checkpoints: names and layout of their tensors."""

from vsft_jax.models.hf_table import Tensor, decoder_rows, linear, norm, tensor
from vsft_jax.models.qwen2_5_vl.config import ModelConfig


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
