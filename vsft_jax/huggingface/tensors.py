"""Parameters to and from the tensors of transformers' checkpoints, by a family's table
(vsft_jax/models/shared/hf/table.py). Files are `load.py` beside this and `vsft_jax/export.py`.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from vsft_jax.huggingface.stacked import Read, stacked
from vsft_jax.models import Family, PortedModel
from vsft_jax.models.shared.hf.table import HEAD, ParameterPath, Tensor, embedding_of
from vsft_jax.models.shared.layers import UNBOUNDED

KeyLayout = Literal["released", "nested"]

# ── From a checkpoint. ──────────────────────────────────────────────────────────────────────────


class Piece(NamedTuple):
    """A rectangle of one tensor of a checkpoint, and where it belongs.

    target: its place in the part of the parameter that was asked for.
    name: of the tensor, in the table. rows: of its axis 0; rest: of the others, flattened to one
    for the kernel of a convolution.
    """

    target: tuple[int | slice, ...]
    name: str
    rows: slice
    rest: tuple[slice, ...]


@dataclasses.dataclass(frozen=True)
class Location:
    """Where one of our parameters stands in a checkpoint.

    tensor: the row of the table whose tensors hold it. start: its first place along the axis over
    which parts are put together.
    shape: the parameter's.
    """

    tensor: Tensor
    start: int
    shape: tuple[int, ...]

    def pieces(self, index: tuple[slice, ...], rows: int | None = None) -> Iterator[Piece]:
        """What makes up `parameter[index]`, in pieces of one layer and at most `rows` rows of the
        checkpoint's tensor."""
        bounds = [s.indices(size)[:2] for s, size in zip(index, self.shape, strict=True)]
        names = self.tensor.names()
        layers = range(*bounds[0]) if self.tensor.depth else (0,)
        inner = bounds[1:] if self.tensor.depth else bounds
        (first, end), across = inner[0], inner[1:]
        if self.tensor.transpose:
            (first, end), across = inner[-1], inner[:-1]
        whole = tuple(slice(0, stop - start) for start, stop in across)
        shift = self.start
        if self.tensor.experts:
            start, stop = across[-1]
            shift, across = 0, [*across[:-1], (shift + start, shift + stop)]
        step = max(1, rows or end - first)
        for number, layer in enumerate(layers):
            for begin in range(first, end, step):
                stop = min(begin + step, end)
                along = slice(begin - first, stop - first)
                target = (*whole, along) if self.tensor.transpose else (along, *whole)
                yield Piece(
                    target=(number, *target) if self.tensor.depth else target,
                    name=names[layer],
                    rows=slice(shift + begin, shift + stop),
                    rest=tuple(slice(*bounds) for bounds in across),
                )

    def read(self, piece: Piece, read: Read) -> np.ndarray:
        """A piece in the parameter's orientation but the checkpoint's dtype."""
        if self.tensor.number:
            return np.clip(np.reshape(read(piece.name, ()), 1), -UNBOUNDED, UNBOUNDED)
        if self.tensor.shape:
            # A kernel's columns are spread over the axes of a convolution: cut after flattening.
            whole = tuple(slice(0, size) for size in self.tensor.shape[1:])
            found = read(piece.name, (piece.rows, *whole))
            found = found.reshape(len(found), -1)[:, *piece.rest]
        else:
            found = read(piece.name, (piece.rows, *piece.rest))
        return found.T if self.tensor.transpose else found

    def read_all(self, read: Read, dtype: Any) -> np.ndarray:
        """The whole parameter on the host."""
        out = np.empty(self.shape, dtype)
        for piece in self.pieces((slice(None),) * len(self.shape)):
            out[piece.target] = self.read(piece, read)
        return out


def locate(
    table: Iterable[Tensor], shapes: Mapping[ParameterPath, tuple[int, ...]]
) -> dict[ParameterPath, Location]:
    """Where each of our parameters stands in a checkpoint.

    Raises ValueError where table and model do not have the same parameters.
    """
    found: dict[ParameterPath, Location] = {}
    for row in table:
        start = 0
        for part in row.parts:
            if part not in shapes or part in found:
                raise ValueError(f"checkpoint table: {'/'.join(part)} in {row.name} is not one")
            found[part] = Location(row, start, shapes[part])
            start += _width(row, shapes[part])
    if left := shapes.keys() - found.keys():
        raise ValueError(f"checkpoint table: nothing for {sorted('/'.join(p) for p in left)}")
    return found


def tensor_shapes(
    table: Iterable[Tensor], shapes: Mapping[ParameterPath, tuple[int, ...]]
) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of a checkpoint."""
    found: dict[str, tuple[int, ...]] = {}
    for row in table:
        if not row.parts:
            found |= dict.fromkeys(row.names(), row.shape)
            continue
        inner = shapes[row.parts[0]][1:] if row.depth else shapes[row.parts[0]]
        rows = sum(_width(row, shapes[part]) for part in row.parts)
        shape = row.shape or ((rows, inner[0]) if row.transpose else (rows, *inner[1:]))
        if row.experts:
            shape = (*inner[:-1], rows)
        shape = _turned(shape) if row.turned else () if row.number else shape
        found |= dict.fromkeys(row.names(), shape)
    return found


def match(
    family: PortedModel,
    config: Any,
    found: Mapping[str, tuple[int, ...]],
    source: str = "the checkpoint",
) -> dict[str, str]:
    """Finds every tensor that a model needs.

    Args:
        family: of the model.
        config: its ModelConfig.
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
        expected[HEAD] = expected[embedding_of(expected)]
    optional = {name for row in table if not row.parts for name in row.names()}
    experts = {name for row in table if row.experts for name in row.names()}
    for name, shape in expected.items():
        if name not in by_name:
            problems += [] if name in optional else [f"missing: {name}"]
        elif tuple(found[by_name[name]]) not in (shape, _turned(shape) if name in experts else ()):
            has = tuple(found[by_name[name]])
            problems.append(f"shape of {by_name[name]} is {has}, the config needs {shape}")
    if problems:
        listed = "\n  ".join(problems)
        raise ValueError(f"{source} does not fit the model config:\n  {listed}")
    return by_name


def upright(
    read: Read,
    table: Iterable[Tensor],
    shapes: Mapping[ParameterPath, tuple[int, ...]],
    found: Mapping[str, tuple[int, ...]],
) -> Read:
    """`read` as if a checkpoint held experts as the table has them, however it holds them.

    shapes: of the parameters. found: name in the table -> shape in the checkpoint.
    """
    expected = tensor_shapes(table, shapes)
    turned = {
        name
        for row in table
        if row.experts
        for name in row.names()
        if tuple(found[name]) == (expected[name] if row.turned else _turned(expected[name]))
    }

    def upright_read(name: str, index: tuple[slice, ...]) -> np.ndarray:
        if name not in turned:
            return read(name, index)
        return read(name, (index[0], index[2], index[1])).swapaxes(1, 2)

    return upright_read


def params_from_hf(
    family: PortedModel, config: Any, tensors: Mapping[str, np.ndarray]
) -> nnx.State:
    """Parameters from a checkpoint's tensors in memory, in the config's `param_dtype`.

    Args:
        family: of the model.
        config: its ModelConfig, which the tensors must fit.
        tensors: name -> array, in any key layout.

    Returns:
        The `params` of `graphdef, params = nnx.split(family.model(config, rngs=...))`.

    Raises:
        ValueError: see `match`; or a stored head differs from the embedding it is tied to.
    """

    def whole(name: str, index: tuple[slice, ...]) -> np.ndarray:
        return np.asarray(tensors[name])[index]

    there, read_there = stacked({name: np.shape(x) for name, x in tensors.items()}, whole)
    given = match(family, config, there)
    if _tied(config) and HEAD in given:
        embedding = given[embedding_of(given)]
        check_tied(np.array_equal(tensors[given[HEAD]], tensors[embedding]), given)
    table, shapes = family.checkpoint_table(config), parameter_shapes(family, config)

    def stored(name: str, index: tuple[slice, ...]) -> np.ndarray:
        return read_there(given[name], index)

    found = {name: there[theirs] for name, theirs in given.items()}
    read = upright(stored, table, shapes, found)
    flat = {
        path: jnp.asarray(location.read_all(read, config.param_dtype))
        for path, location in locate(table, shapes).items()
    }
    return jax.tree_util.tree_map_with_path(
        lambda path, _: flat[path_names(path)], family.parameters(config)
    )


def check_tied(equal: bool, given: Mapping[str, str]) -> None:
    """Raises ValueError unless a stored head equals the embedding it is tied to."""
    if not equal:
        raise ValueError(
            f"config.json says tie_word_embeddings, but {given[HEAD]} differs from "
            f"{given[embedding_of(given)]}: set tie_word_embeddings to false there to keep both"
        )


# ── To a checkpoint. ────────────────────────────────────────────────────────────────────────────


def hf_tensors(
    family: Family,
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
        axis = -1 if row.experts else 0
        array = pieces[0] if len(pieces) == 1 else np.concatenate(pieces, axis)
        if row.turned or (row.experts and array.shape == _turned(array.shape)):
            array = array.swapaxes(1, 2)
        array = np.ascontiguousarray(array)
        if row.number:
            # Rounded to a smaller type it may have become less.
            held = np.abs(array.astype(np.float32)) < 0.99 * UNBOUNDED
            return np.where(held, array, np.copysign(np.inf, array)).reshape(())
        return array.reshape(row.shape) if row.shape else array

    for row in filter(lambda row: row.written, family.checkpoint_table(config)):
        for layer, name in enumerate(row.names()):
            given = family.released_name(name) if layout == "released" else name
            yield given, functools.partial(make, row, layer)


def _fetch(array: Any, layer: int | None) -> np.ndarray:
    return np.asarray(array if layer is None else array[layer])


def params_to_hf(
    family: Family, config: Any, params: Any, layout: KeyLayout = "released"
) -> dict[str, np.ndarray]:
    """All of `hf_tensors` in a dict."""
    return {name: make() for name, make in hf_tensors(family, config, params, layout)}


# ── Shapes and paths. ───────────────────────────────────────────────────────────────────────────


def parameter_shapes(family: PortedModel, config: Any) -> dict[ParameterPath, tuple[int, ...]]:
    """Path -> shape of every parameter of a model; nothing is allocated."""
    leaves = jax.tree_util.tree_leaves_with_path(family.parameters(config))
    return {path_names(path): leaf.shape for path, leaf in leaves}


def path_names(path: tuple) -> ParameterPath:
    """Pieces of a parameter's path; the leaf inside its `nnx.Param` has no name of its own."""
    return tuple(str(key.key) for key in path if isinstance(key, jax.tree_util.DictKey))


def _tied(config: Any) -> bool:
    """Whether the head is the embedding; a model without text has neither."""
    return hasattr(config, "text") and config.text.tie_word_embeddings


def _width(row: Tensor, shape: tuple[int, ...]) -> int:
    """Places that a parameter of this shape takes along the axis of the checkpoint's tensor over
    which parts are put together."""
    return shape[-1] if row.transpose or row.experts else shape[1 if row.depth else 0]


def _turned(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of experts' matrices with inputs and outputs the other way round."""
    return (*shape[:-2], shape[-1], shape[-2])
