"""Weights to and from transformers' checkpoints, by a table that each family writes.

The table (`checkpoint_table(config)`) says which of our parameters make up which tensor of a
checkpoint, under the key names of transformers 5. Reading, writing and checking all go by it.
Checkpoints come in more than one key layout: a family's `canonical_name` maps every name that is
in circulation to the table's, and its `released_name` maps the table's name to the one under which
the model was published, which every version of transformers reads.

This module holds the rows that families share and the arithmetic between the two sides. Files are
`vsft_jax/huggingface/load.py` and `vsft_jax/export.py`.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from vsft_jax.models.shared.decoder import TextConfig

KeyLayout = Literal["released", "nested"]
Path = tuple[str, ...]
# (tensor name in the table, one slice for each of its axes) -> that part of the tensor.
Read = Callable[[str, tuple[slice, ...]], np.ndarray]

EMBEDDING = "model.language_model.embed_tokens.weight"
HEAD = "lm_head.weight"


@dataclasses.dataclass(frozen=True)
class Tensor:
    """One tensor of a checkpoint, or with `{i}` in its name one for each layer of a stack.

    name: in the key layout of transformers 5.
    parts: paths of our parameters; a checkpoint's tensor is their concatenation over its axis 0.
        () for a tensor that transformers has and the model does not depend on: a checkpoint may
        hold it or not, and it is written as `shape` times `fill`.
    depth: layers of the stack, 0 outside of one.
    transpose: our kernels are [inputs, outputs], transformers' weights [outputs, inputs].
    shape: of the checkpoint's tensor where it is not a matrix or vector (convolution), else ().
    fill: see `parts`.
    """

    name: str
    parts: tuple[Path, ...]
    depth: int = 0
    transpose: bool = False
    shape: tuple[int, ...] = ()
    fill: float = 0.0

    def names(self) -> list[str]:
        """The tensor's name, or those of all layers."""
        return [self.name.format(i=i) for i in range(self.depth)] if self.depth else [self.name]


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


def decoder_rows(text: TextConfig) -> list[Tensor]:
    """The language model: the same in every family."""
    theirs, ours = "model.language_model", "llm"
    names, layer, depth = f"{theirs}.layers.{{i}}", f"{ours}/layers", text.depth
    rows = [tensor(EMBEDDING, f"{ours}/embed/embedding")]
    rows += norm(f"{names}.input_layernorm", f"{layer}/norm1", depth)
    rows += norm(f"{names}.post_attention_layernorm", f"{layer}/norm2", depth)
    for part in "qkv":
        rows += linear(
            f"{names}.self_attn.{part}_proj", f"{layer}/{part}", depth=depth, bias=text.qkv_bias
        )
    rows += linear(f"{names}.self_attn.o_proj", f"{layer}/o", depth=depth, bias=False)
    for part in ("q_norm", "k_norm") if text.qk_norm else ():
        rows += norm(f"{names}.self_attn.{part}", f"{layer}/{part}", depth)
    for part in ("gate", "up", "down"):
        rows += linear(f"{names}.mlp.{part}_proj", f"{layer}/mlp/{part}", depth=depth, bias=False)
    rows += norm(f"{theirs}.norm", f"{ours}/norm")
    if not text.tie_word_embeddings:
        rows += linear("lm_head", f"{ours}/head", bias=False)
    return rows


# ── From a checkpoint. ──────────────────────────────────────────────────────────────────────────


@dataclasses.dataclass(frozen=True)
class Place:
    """Where one of our parameters stands in a checkpoint.

    tensor: the row of the table whose tensors hold it. start: its first row along their axis 0.
    shape: the parameter's.
    """

    tensor: Tensor
    start: int
    shape: tuple[int, ...]

    def pieces(
        self, index: tuple[slice, ...], read: Read, rows: int | None = None
    ) -> Iterator[tuple[tuple[slice, ...], Callable[[], np.ndarray]]]:
        """What has to be read for `parameter[index]`, in pieces of one layer and at most `rows`
        rows of the checkpoint's tensor.

        Yields (where in `parameter[index]` the piece goes, function that reads it). A piece has
        the parameter's orientation but the checkpoint's dtype.
        """
        bounds = [s.indices(size)[:2] for s, size in zip(index, self.shape, strict=True)]
        names = self.tensor.names()
        layers = range(*bounds[0]) if self.tensor.depth else (0,)
        inner = bounds[1:] if self.tensor.depth else bounds
        along, across = (inner[-1], inner[:-1]) if self.tensor.transpose else (inner[0], inner[1:])
        step = max(1, rows or along[1] - along[0])
        for place, layer in enumerate(layers):
            for first in range(along[0], along[1], step):
                chunk = (first, min(first + step, along[1]))
                target = slice(chunk[0] - along[0], chunk[1] - along[0])
                rest = [slice(0, stop - start) for start, stop in across]
                where = (*rest, target) if self.tensor.transpose else (target, *rest)
                where = (place, *where) if self.tensor.depth else where
                yield where, lambda c=chunk, n=names[layer]: self._piece(n, c, across, read)

    def _piece(self, name: str, chunk, across, read: Read) -> np.ndarray:
        rows = slice(self.start + chunk[0], self.start + chunk[1])
        if self.tensor.shape:
            # A kernel's columns are spread over the axes of a convolution: cut after flattening.
            whole = read(name, (rows, *(slice(0, size) for size in self.tensor.shape[1:])))
            found = whole.reshape(len(whole), -1)[:, slice(*across[0])]
        else:
            found = read(name, (rows, *(slice(*bounds) for bounds in across)))
        return found.T if self.tensor.transpose else found

    def read(self, index: tuple[slice, ...], read: Read, dtype: Any) -> np.ndarray:
        """`parameter[index]` on the host."""
        shape = [len(range(*s.indices(size))) for s, size in zip(index, self.shape, strict=True)]
        out = np.empty(shape, dtype)
        for where, piece in self.pieces(index, read):
            out[where] = piece()
        return out


def places(table: Iterable[Tensor], shapes: Mapping[Path, tuple[int, ...]]) -> dict[Path, Place]:
    """For each of our parameters its place in a checkpoint.

    Raises ValueError where table and model do not have the same parameters.
    """
    found: dict[Path, Place] = {}
    for row in table:
        start = 0
        for part in row.parts:
            if part not in shapes or part in found:
                raise ValueError(f"checkpoint table: {'/'.join(part)} in {row.name} is not one")
            found[part] = Place(row, start, shapes[part])
            start += _width(row, shapes[part])
    if left := shapes.keys() - found.keys():
        raise ValueError(f"checkpoint table: nothing for {sorted('/'.join(p) for p in left)}")
    return found


def tensor_shapes(
    table: Iterable[Tensor], shapes: Mapping[Path, tuple[int, ...]]
) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of a checkpoint."""
    found = {}
    for row in table:
        if not row.parts:
            found |= dict.fromkeys(row.names(), row.shape)
            continue
        inner = shapes[row.parts[0]][1:] if row.depth else shapes[row.parts[0]]
        rows = sum(_width(row, shapes[part]) for part in row.parts)
        shape = row.shape or ((rows, inner[0]) if row.transpose else (rows, *inner[1:]))
        found |= dict.fromkeys(row.names(), shape)
    return found


def match(
    family: Any, config: Any, found: Mapping[str, tuple[int, ...]], source: str = "the checkpoint"
) -> dict[str, str]:
    """Finds every tensor that a model needs.

    Args:
        family: a family's module: `checkpoint_table` and `canonical_name`. The latter returns None
            for a tensor that checkpoints may hold and the model has no use for.
        config: the family's ModelConfig.
        found: name -> shape of what a checkpoint holds, in any key layout.

    Returns:
        Name in the table -> name in the checkpoint; with tied embeddings also `HEAD` where the
        checkpoint holds one, which the caller compares with the embedding.

    Raises:
        ValueError: tensors are missing, unknown, doubled or of another shape; all are listed.
    """
    table = family.checkpoint_table(config)
    expected = tensor_shapes(table, parameter_shapes(family, config))
    by_name: dict[str, str] = {}
    problems = []
    for given in found:
        name = family.canonical_name(given)
        if name in by_name:
            problems.append(f"twice: {by_name[name]} and {given}")
        elif name in expected or (name == HEAD and _tied(config)):
            by_name[name] = given
        elif name is not None:
            problems.append(f"unknown: {given}")
    if by_name.get(HEAD) and HEAD not in expected:
        expected[HEAD] = expected[EMBEDDING]
    optional = {name for row in table if not row.parts for name in row.names()}
    for name, shape in expected.items():
        if name not in by_name:
            problems += [] if name in optional else [f"missing: {name}"]
        elif tuple(found[by_name[name]]) != shape:
            has = tuple(found[by_name[name]])
            problems.append(f"shape of {by_name[name]} is {has}, the config needs {shape}")
    if problems:
        listed = "\n  ".join(problems)
        raise ValueError(f"{source} does not fit the model config:\n  {listed}")
    return by_name


def params_from_hf(family: Any, config: Any, tensors: Mapping[str, np.ndarray]) -> nnx.State:
    """Parameters from a checkpoint's tensors in memory, in the config's `param_dtype`.

    Args:
        family: a family's module.
        config: its ModelConfig, which the tensors must fit.
        tensors: name -> array, in any key layout.

    Returns:
        The `params` of `graphdef, params = nnx.split(family.Model(config, rngs=...))`.

    Raises:
        ValueError: see `match`; or a stored head differs from the embedding it is tied to.
    """
    given = match(family, config, {name: np.shape(array) for name, array in tensors.items()})
    if _tied(config) and HEAD in given:
        check_tied(np.array_equal(tensors[given[HEAD]], tensors[given[EMBEDDING]]), given)
    shapes = parameter_shapes(family, config)
    flat = {
        path: jnp.asarray(
            place.read(
                (slice(None),) * len(place.shape),
                lambda name, index: np.asarray(tensors[given[name]])[index],
                config.param_dtype,
            )
        )
        for path, place in places(family.checkpoint_table(config), shapes).items()
    }
    return jax.tree_util.tree_map_with_path(
        lambda path, _: flat[path_names(path)], _abstract(family, config)
    )


def check_tied(equal: bool, given: Mapping[str, str]) -> None:
    """Raises ValueError unless a stored head equals the embedding it is tied to."""
    if not equal:
        raise ValueError(
            f"config.json says tie_word_embeddings, but {given[HEAD]} differs from "
            f"{given[EMBEDDING]}: set tie_word_embeddings to false there to keep both"
        )


# ── To a checkpoint. ────────────────────────────────────────────────────────────────────────────


def hf_tensors(
    family: Any,
    config: Any,
    params: Any,
    layout: KeyLayout = "released",
    fetch: Callable[[Any, int | None], np.ndarray] | None = None,
) -> Iterator[tuple[str, Callable[[], np.ndarray]]]:
    """The checkpoint's tensors one by one: (name, function that makes the array on the host).

    Inverse of `params_from_hf`, in the parameters' dtype; with tied embeddings there is no head.
    At most one layer of a stack is on the host at a time. fetch: (parameter, layer or None) → that
    part on the host.
    """
    fetch = fetch or _fetch
    flat = {path_names(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(params)}

    def make(row: Tensor, layer: int) -> np.ndarray:
        if not row.parts:
            return np.full(row.shape, row.fill, config.param_dtype)
        pieces = [fetch(flat[part], layer if row.depth else None) for part in row.parts]
        pieces = [piece.T for piece in pieces] if row.transpose else pieces
        array = np.ascontiguousarray(pieces[0] if len(pieces) == 1 else np.concatenate(pieces))
        return array.reshape(row.shape) if row.shape else array

    for row in family.checkpoint_table(config):
        for layer, name in enumerate(row.names()):
            given = family.released_name(name) if layout == "released" else name
            yield given, lambda row=row, layer=layer: make(row, layer)


def _fetch(array: Any, layer: int | None) -> np.ndarray:
    return np.asarray(array if layer is None else array[layer])


def params_to_hf(
    family: Any, config: Any, params: Any, layout: KeyLayout = "released"
) -> dict[str, np.ndarray]:
    """All of `hf_tensors` in a dict."""
    return {name: make() for name, make in hf_tensors(family, config, params, layout)}


# ── Shapes and paths. ───────────────────────────────────────────────────────────────────────────


def parameter_shapes(family: Any, config: Any) -> dict[Path, tuple[int, ...]]:
    """Path -> shape of every parameter of a model; nothing is allocated."""
    leaves = jax.tree_util.tree_leaves_with_path(_abstract(family, config))
    return {path_names(path): leaf.shape for path, leaf in leaves}


def path_names(path: tuple) -> Path:
    """Pieces of a parameter's path; the leaf inside its `nnx.Param` has no name of its own."""
    return tuple(str(key.key) for key in path if isinstance(key, jax.tree_util.DictKey))


def _tied(config: Any) -> bool:
    """Whether the head is the embedding; a model without text has neither."""
    return hasattr(config, "text") and config.text.tie_word_embeddings


def _abstract(family: Any, config: Any) -> nnx.State:
    return jax.eval_shape(lambda: nnx.split(family.Model(config, rngs=nnx.Rngs(0)))[1])


def _width(row: Tensor, shape: tuple[int, ...]) -> int:
    """Rows (axis 0) that a parameter of this shape takes in the checkpoint's tensor."""
    return shape[-1] if row.transpose else shape[1 if row.depth else 0]


def _path(joined: str) -> Path:
    return tuple(joined.split("/"))
