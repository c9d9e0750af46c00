"""Tables of a checkpoint's tensors, and the rows that families share.

A table (`checkpoint_table(config)`) says which of our parameters make up which tensor of a
checkpoint, under the key names of transformers 5. Reading, writing and checking all go by it
(vsft_jax/huggingface). Checkpoints come in more than one key layout: a family's `canonical_name`
maps every name that is in circulation to the table's, and its `released_name` maps the table's
name to the one under which the model was published, which every version of transformers reads.
"""

import dataclasses
from collections.abc import Iterable
from typing import Any

from vsft_jax.models.shared.config import TextConfig

ParameterPath = tuple[str, ...]

HEAD = "lm_head.weight"


@dataclasses.dataclass(frozen=True)
class Tensor:
    """One tensor of a checkpoint, or with `{i}` in its name one for each layer of a stack.

    name: in the key layout of transformers 5.
    parts: paths of our parameters; a checkpoint's tensor is their concatenation over its axis 0,
        of experts over its last one.
        () for a tensor that transformers has and the model does not depend on: a checkpoint may
        hold it or not, and it is written as `shape` times `fill`.
    depth: layers of the stack, 0 outside of one.
    written: whether an export has it; not for what older checkpoints hold without a use.
    layers: their numbers in the checkpoint; () for 0 … depth - 1.
    number: a bound that a checkpoint holds as a number without an axis, ours as a vector of one; an
        infinite one is `UNBOUNDED` here.
    transpose: our kernels are [inputs, outputs], transformers' weights [outputs, inputs].
    shape: of the checkpoint's tensor where it is not a matrix or vector (convolution), else ().
    fill: see `parts`.
    experts: kernels [E, inputs, outputs] of experts. A checkpoint holds them so, as released, or as
        [E, outputs, inputs], as transformers 5 writes them and takes those to be whose two sides
        are alike. turned: they were released like that.
    """

    name: str
    parts: tuple[ParameterPath, ...]
    depth: int = 0
    transpose: bool = False
    shape: tuple[int, ...] = ()
    fill: float = 0.0
    experts: bool = False
    turned: bool = False
    layers: tuple[int, ...] = ()
    number: bool = False
    written: bool = True

    def names(self) -> list[str]:
        """The tensor's name, or those of all layers."""
        layers = self.layers or range(self.depth)
        return [self.name.format(i=i) for i in layers] if self.depth else [self.name]


# ── Rows that families share. Parameters are named by path, "llm/layers/q". ─────────────────────


def tensor(name: str, part: str, depth: int = 0, **more: Any) -> Tensor:
    """A tensor that is one of our parameters."""
    return Tensor(name, (_path(part),), depth, **more)


def linear(name: str, *parts: str, depth: int = 0, bias: bool) -> list[Tensor]:
    """A Linear, or several side by side in one of theirs (`attn.qkv`)."""
    kernels = tuple(_path(f"{part}/kernel") for part in parts)
    rows = [Tensor(f"{name}.weight", kernels, depth, transpose=True)]
    if bias:
        rows.append(Tensor(f"{name}.bias", tuple(_path(f"{part}/bias") for part in parts), depth))
    return rows


def norm(name: str, part: str, depth: int = 0, *, bias: bool = False) -> list[Tensor]:
    """An RMSNorm, or with `bias` a LayerNorm."""
    rows = [tensor(f"{name}.weight", f"{part}/scale", depth)]
    return rows + [tensor(f"{name}.bias", f"{part}/bias", depth)] * bias


def embedding_of(names: Iterable[str]) -> str:
    """The language model's embedding among a table's names."""
    return next(name for name in names if name.endswith(".embed_tokens.weight"))


def decoder_rows(text: TextConfig, theirs: str = "model.language_model") -> list[Tensor]:
    """The language model, named `theirs`: else the same in every family."""
    ours = "llm"
    names, layer, depth = f"{theirs}.layers.{{i}}", f"{ours}/layers", text.depth
    rows = [tensor(f"{theirs}.embed_tokens.weight", f"{ours}/embed/embedding")]
    rows += norm(f"{names}.input_layernorm", f"{layer}/norm1", depth)
    rows += norm(f"{names}.post_attention_layernorm", f"{layer}/norm2", depth)
    for part in "qkv":
        rows += linear(
            f"{names}.self_attn.{part}_proj", f"{layer}/{part}", depth=depth, bias=text.qkv_bias
        )
    rows += linear(f"{names}.self_attn.o_proj", f"{layer}/o", depth=depth, bias=False)
    for part in ("q_norm", "k_norm") if text.qk_norm else ():
        rows += norm(f"{names}.self_attn.{part}", f"{layer}/{part}", depth)
    if text.experts:
        rows += linear(f"{names}.mlp.gate", f"{layer}/mlp/router", depth=depth, bias=False)
        rows += expert_rows(f"{names}.mlp.experts", f"{layer}/mlp/experts", depth)
    for part in () if text.experts else ("gate", "up", "down"):
        rows += linear(f"{names}.mlp.{part}_proj", f"{layer}/mlp/{part}", depth=depth, bias=False)
    rows += norm(f"{theirs}.norm", f"{ours}/norm")
    if not text.tie_word_embeddings:
        rows += linear("lm_head", f"{ours}/head", bias=False)
    return rows


def expert_rows(theirs: str, ours: str, depth: int, *, turned: bool = False) -> list[Tensor]:
    """Gated MLPs of experts. turned: see `Tensor`."""
    rows = []
    for name, parts in (("gate_up_proj", ("gate", "up")), ("down_proj", ("down",))):
        kernels = tuple(_path(f"{ours}/{part}/kernel") for part in parts)
        rows.append(Tensor(f"{theirs}.{name}", kernels, depth, experts=True, turned=turned))
    return rows


def _path(joined: str) -> ParameterPath:
    return tuple(joined.split("/"))
