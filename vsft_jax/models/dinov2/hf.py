"""transformers' DINOv2 checkpoints: names and layout of their tensors."""

from vsft_jax.models.dinov2.config import ModelConfig
from vsft_jax.models.shared.hf.table import Tensor, linear, norm, tensor


def checkpoint_table(config: ModelConfig) -> list[Tensor]:
    """Every tensor of a checkpoint, under the names that are in files."""
    layer, block, depth = "encoder.layer.{i}", "blocks", config.depth
    patch = (config.width, 3, config.patch_size, config.patch_size)
    projection = "embeddings.patch_embeddings.projection"
    rows = [
        tensor("embeddings.cls_token", "class_token"),
        tensor("embeddings.position_embeddings", "position"),
        tensor(f"{projection}.weight", "patch_embed/kernel", transpose=True, shape=patch),
        tensor(f"{projection}.bias", "patch_embed/bias"),
    ]
    for i in (1, 2):
        rows += norm(f"{layer}.norm{i}", f"{block}/norm{i}", depth, bias=True)
        rows.append(tensor(f"{layer}.layer_scale{i}.lambda1", f"{block}/scale{i}", depth))
    for name, part in (("query", "q"), ("key", "k"), ("value", "v")):
        theirs = f"{layer}.attention.attention.{name}"
        rows += linear(theirs, f"{block}/{part}", depth=depth, bias=True)
    rows += linear(f"{layer}.attention.output.dense", f"{block}/o", depth=depth, bias=True)
    mlp = f"{block}/mlp"
    if config.swiglu:
        gated = (f"{mlp}/gate", f"{mlp}/up")
        rows += linear(f"{layer}.mlp.weights_in", *gated, depth=depth, bias=True)
        rows += linear(f"{layer}.mlp.weights_out", f"{mlp}/down", depth=depth, bias=True)
    else:
        rows += linear(f"{layer}.mlp.fc1", f"{mlp}/up", depth=depth, bias=True)
        rows += linear(f"{layer}.mlp.fc2", f"{mlp}/down", depth=depth, bias=True)
    return rows + norm("layernorm", "norm", bias=True)


def canonical_name(name: str) -> str | None:
    """A tensor's name in the table; None for the mask token, which only training uses."""
    return None if name == "embeddings.mask_token" else name
