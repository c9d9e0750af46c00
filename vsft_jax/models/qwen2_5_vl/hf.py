"""Weights to and from transformers' Qwen2.5-VL checkpoints.

One table says which of our parameters make up which tensor of a checkpoint; reading, writing and
checking all go by it. Two key layouts exist: `visual.*` / `model.*` (as released) and
`model.visual.*` / `model.language_model.*` (written by transformers since 4.52). Both are read.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from vsft_jax.models.qwen2_5_vl.config import ModelConfig
from vsft_jax.models.qwen2_5_vl.model import Qwen2_5VL

KeyLayout = Literal["released", "nested"]
Path = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Tensor:
    """One tensor of a checkpoint, or with `{i}` in its name one for each layer of a stack.

    name: in the nested layout.
    parts: paths of our parameters; a checkpoint's tensor is their concatenation over its axis 0.
    depth: layers of the stack, 0 outside of one.
    transpose: our kernels are [inputs, outputs], transformers' weights [outputs, inputs].
    shape: of the checkpoint's tensor where it is not a matrix or vector (convolution), else ().
    """

    name: str
    parts: tuple[Path, ...]
    depth: int = 0
    transpose: bool = False
    shape: tuple[int, ...] = ()

    def names(self) -> list[str]:
        return [self.name.format(i=i) for i in range(self.depth)] if self.depth else [self.name]


def checkpoint_table(config: ModelConfig) -> list[Tensor]:
    """Every tensor of a checkpoint. Each parameter is a part of exactly one."""
    vision, text = config.vision, config.text
    patch = (vision.temporal_patch_size, vision.patch_size, vision.patch_size)

    def path(joined: str) -> Path:
        return tuple(joined.split("/"))

    def linear(name: str, *parts: str, depth: int = 0, bias: bool) -> list[Tensor]:
        kernels = tuple(path(f"{part}/kernel") for part in parts)
        rows = [Tensor(f"{name}.weight", kernels, depth, transpose=True)]
        if bias:
            rows.append(
                Tensor(f"{name}.bias", tuple(path(f"{part}/bias") for part in parts), depth)
            )
        return rows

    tower, block = "model.visual", "visual/blocks"
    decoder, layer = "model.language_model", "llm/layers"
    names = f"{tower}.blocks.{{i}}"
    rows = [
        Tensor(
            f"{tower}.patch_embed.proj.weight",
            (path("visual/patch_embed/kernel"),),
            transpose=True,
            shape=(vision.width, 3, *patch),
        )
    ]
    for ours, theirs in (("norm1", "norm1"), ("norm2", "norm2")):
        rows.append(
            Tensor(f"{names}.{theirs}.weight", (path(f"{block}/{ours}/scale"),), vision.depth)
        )
    qkv = [f"{block}/{part}" for part in "qkv"]
    rows += linear(f"{names}.attn.qkv", *qkv, depth=vision.depth, bias=True)
    rows += linear(f"{names}.attn.proj", f"{block}/o", depth=vision.depth, bias=True)
    for part in ("gate", "up", "down"):
        rows += linear(
            f"{names}.mlp.{part}_proj", f"{block}/mlp/{part}", depth=vision.depth, bias=True
        )

    rows.append(Tensor(f"{tower}.merger.ln_q.weight", (path("merger/norm/scale"),)))
    rows += linear(f"{tower}.merger.mlp.0", "merger/fc1", bias=True)
    rows += linear(f"{tower}.merger.mlp.2", "merger/fc2", bias=True)

    names = f"{decoder}.layers.{{i}}"
    rows.append(Tensor(f"{decoder}.embed_tokens.weight", (path("llm/embed/embedding"),)))
    for ours, theirs in (("norm1", "input_layernorm"), ("norm2", "post_attention_layernorm")):
        rows.append(
            Tensor(f"{names}.{theirs}.weight", (path(f"{layer}/{ours}/scale"),), text.depth)
        )
    for part in "qkvo":
        rows += linear(
            f"{names}.self_attn.{part}_proj", f"{layer}/{part}", depth=text.depth, bias=part != "o"
        )
    for part in ("gate", "up", "down"):
        rows += linear(
            f"{names}.mlp.{part}_proj", f"{layer}/mlp/{part}", depth=text.depth, bias=False
        )
    rows.append(Tensor(f"{decoder}.norm.weight", (path("llm/norm/scale"),)))
    if not text.tie_word_embeddings:
        rows += linear("lm_head", "llm/head", bias=False)
    return rows


def params_from_hf(
    config: ModelConfig,
    tensors: Mapping[str, np.ndarray],
    put: Callable[[Path, np.ndarray], Any] = lambda path, array: jnp.asarray(array),
) -> nnx.State:
    """Parameters from a checkpoint's tensors.

    Args:
        config: what the checkpoint must fit; parameters come out in its `param_dtype`.
        tensors: name -> array, in either key layout. Arrays are read twice, shape then values,
            so a mapping over memory-mapped files is best.
        put: called with each parameter's path and its full array on the host, one at a time;
            returns what to store. Lets a large model go to its shards piece by piece.

    Returns:
        The `params` of `graphdef, params = nnx.split(Qwen2_5VL(config))`.

    Raises:
        ValueError: tensors are missing, unknown or of another shape; all are listed at once.
    """
    shapes = _shapes(config)
    table = checkpoint_table(config)
    by_name = {_nested(name): name for name in tensors}
    _check(config, table, shapes, by_name, tensors)

    flat = {}
    for row in table:
        widths = [_width(row, shapes[part]) for part in row.parts]
        ends = np.cumsum(widths)
        stacks: list[list[np.ndarray]] = [[] for _ in row.parts]
        for name in row.names():
            array = np.asarray(tensors[by_name[name]])
            array = array.reshape(array.shape[0], -1) if row.shape else array
            pieces = np.split(array, ends[:-1], axis=0)
            for stack, piece in zip(stacks, pieces, strict=True):
                stack.append(piece.T if row.transpose else piece)
        for part, stack in zip(row.parts, stacks, strict=True):
            value = np.stack(stack) if row.depth else np.ascontiguousarray(stack[0])
            flat[part] = put(part, value.astype(config.param_dtype))
    return _replace(_abstract(config), flat)


def hf_tensors(
    config: ModelConfig, params: nnx.State, layout: KeyLayout = "released"
) -> Iterator[tuple[str, np.ndarray]]:
    """The checkpoint's tensors one by one: (name, array on the host, in the parameters' dtype).

    The inverse of `params_from_hf`; with tied embeddings there is no `lm_head.weight`.
    """
    flat = {_names(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(params)}
    for row in checkpoint_table(config):
        parts = [np.asarray(flat[part]) for part in row.parts]
        for i, name in enumerate(row.names()):
            pieces = [part[i] if row.depth else part for part in parts]
            pieces = [piece.T for piece in pieces] if row.transpose else pieces
            array = np.ascontiguousarray(np.concatenate(pieces))
            array = array.reshape(row.shape) if row.shape else array
            yield (_released(name) if layout == "released" else name), array


def params_to_hf(
    config: ModelConfig, params: nnx.State, layout: KeyLayout = "released"
) -> dict[str, np.ndarray]:
    """All of `hf_tensors` in a dict."""
    return dict(hf_tensors(config, params, layout))


def _check(config, table, shapes, by_name, tensors) -> None:
    """Raises one ValueError that lists everything that does not fit."""
    problems = []
    expected = {name: row for row in table for name in row.names()}
    tied_head = "lm_head.weight" if config.text.tie_word_embeddings else None
    for name, row in expected.items():
        if name not in by_name:
            problems.append(f"missing: {name}")
            continue
        inner = shapes[row.parts[0]][1:] if row.depth else shapes[row.parts[0]]
        rows = sum(_width(row, shapes[part]) for part in row.parts)
        fitting = row.shape or ((rows, inner[0]) if row.transpose else (rows, *inner[1:]))
        found = tuple(tensors[by_name[name]].shape)
        if found != fitting:
            problems.append(f"shape of {by_name[name]} is {found}, the config needs {fitting}")
    for name, given in by_name.items():
        if name == tied_head:
            embedding = by_name.get("model.language_model.embed_tokens.weight")
            if embedding and not np.array_equal(tensors[given], tensors[embedding]):
                problems.append(f"{given} differs from the embedding it is tied to")
        elif name not in expected:
            problems.append(f"unknown: {given}")
    if problems:
        listed = "\n  ".join(problems)
        raise ValueError(f"the checkpoint does not fit the model config:\n  {listed}")


def _width(row: Tensor, shape: tuple[int, ...]) -> int:
    """Rows (axis 0) that a parameter of this shape takes in the checkpoint's tensor."""
    return shape[-1] if row.transpose else shape[1 if row.depth else 0]


def _abstract(config: ModelConfig) -> nnx.State:
    return jax.eval_shape(lambda: nnx.split(Qwen2_5VL(config, rngs=nnx.Rngs(0)))[1])


def _shapes(config: ModelConfig) -> dict[Path, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(_abstract(config))
    return {_names(path): leaf.shape for path, leaf in leaves}


def _replace(params: nnx.State, flat: Mapping[Path, Any]) -> nnx.State:
    return jax.tree_util.tree_map_with_path(lambda path, _: flat[_names(path)], params)


def _names(path: tuple) -> Path:
    """Pieces of a parameter's path; the leaf inside its `nnx.Param` has no name of its own."""
    return tuple(str(key.key) for key in path if isinstance(key, jax.tree_util.DictKey))


def _nested(name: str) -> str:
    if name.startswith("visual."):
        return f"model.{name}"
    if name.startswith("model.") and not name.startswith(
        ("model.visual.", "model.language_model.")
    ):
        return name.replace("model.", "model.language_model.", 1)
    return name


def _released(name: str) -> str:
    return name.replace("model.language_model.", "model.").replace("model.visual.", "visual.")
