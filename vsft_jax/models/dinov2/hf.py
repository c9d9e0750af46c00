"""transformers' DINOv2 checkpoints: names and layout of their tensors, and reading one."""

import sys
from pathlib import Path

from flax import nnx

from vsft_jax.huggingface.files import HFError, SafetensorsReader, read_json
from vsft_jax.models.dinov2.config import ModelConfig, from_hf
from vsft_jax.models.dinov2.model import Dinov2
from vsft_jax.models.shared.hf.table import Tensor, linear, norm, params_from_hf, tensor


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


def load(directory: str | Path) -> Dinov2:
    """The model of a Hugging Face directory, on the default device.

    Raises HFError for a directory that does not hold one.
    """
    family = sys.modules[__package__]
    directory = Path(directory)
    try:
        config = from_hf(read_json(directory / "config.json"), attention="xla", remat="none")
        with SafetensorsReader(directory) as reader:
            tensors = {
                name: reader.read(name, tuple(slice(0, size) for size in shape))
                for name, shape in reader.shapes.items()
            }
        params = params_from_hf(family, config, tensors)
    except HFError:
        raise
    except ValueError as error:
        raise HFError(f"{directory}: {error}") from error
    model = nnx.eval_shape(lambda: Dinov2(config, rngs=nnx.Rngs(0)))
    return nnx.merge(nnx.graphdef(model), params)
