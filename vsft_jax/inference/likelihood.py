"""How likely a model finds texts, token by token."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.experimental import multihost_utils

from input_pipeline.batches.packing import pack
from vsft_jax.inference.model import LoadedModel
from vsft_jax.sharding import batch_shards, local_rows, put_batch

_LOGITS = 2**27  # of a device at one time: half a gigabyte
_PACKED = 2048  # windows among which those that share a row are chosen


class Window(NamedTuple):
    """A part of a text, with what is seen before it. text: its place among the texts. first: of its
    tokens, in the text. seen, told: int32[n], told[i] follows seen[i]."""

    text: int
    first: int
    seen: np.ndarray
    told: np.ndarray


def windows_of(texts: Sequence[np.ndarray], begin: int, length: int) -> list[Window]:
    """Texts cut into windows of at most `length` tokens, so that each token is told once.

    The first window of a text begins after the token `begin`, each other one after the last token
    of the one before, and sees no more of the text than that. texts: int[n] each.
    """
    found = []
    for place, text in enumerate(texts):
        seen = np.concatenate([[begin], text[:-1]]).astype(np.int32)
        for first in range(0, len(text), length):
            here = slice(first, first + length)
            found.append(Window(place, first, seen[here], text[here].astype(np.int32)))
    return found


def log_likelihoods(
    model: LoadedModel, texts: Sequence[np.ndarray], *, window: int, batch_rows: int
) -> list[np.ndarray]:
    """The natural logarithm of every token's probability after those before it: float32[n] for each
    text int[n].

    window: tokens that are seen at a time, see `windows_of`. Windows that are shorter share rows.
    batch_rows: the most rows that run together; a multiple of the devices that rows are split over.
    """
    found = [np.zeros(len(text), np.float32) for text in texts]
    windows = windows_of(texts, model.tokenizer.begin_id, window)
    rows = _rows(windows, window)
    shards = batch_shards(model.mesh)
    count = min(batch_rows, -(-len(rows) // shards) * shards)
    with jax.set_mesh(model.mesh):
        chunk = max(1, min(window, _LOGITS * shards // (count * _vocabulary(model))))
        here = local_rows(model.mesh, count)
        for start in range(0, len(rows), count):
            batch = rows[start : start + count]
            batch += [[]] * (count - len(batch))
            arrays = put_batch(_arrays([batch[i] for i in here], window), model.mesh, count)
            told = _everywhere(_logprobs(model.graphdef, model.params, arrays, chunk=chunk))
            for row, members in zip(told, batch, strict=True):
                for each, place in _placed(members):
                    end = each.first + len(each.told)
                    found[each.text][each.first : end] = row[place]
    return found


def _rows(windows: Sequence[Window], length: int) -> list[list[Window]]:
    """Which windows share a row of so many tokens."""
    if not windows:
        return []
    sizes = np.array([len(each.told) for each in windows])
    none = np.zeros_like(sizes)
    plan = pack(sizes, none, max_tokens=length, max_patches=1, window=_PACKED)
    return [[windows[i] for i in plan.row(r)] for r in range(plan.rows)]


def _placed(members: Sequence[Window]) -> Iterator[tuple[Window, slice]]:
    """The windows of a row with their places in it, one after the other."""
    start = 0
    for each in members:
        yield each, slice(start, start + len(each.told))
        start += len(each.told)


def _arrays(rows: Sequence[Sequence[Window]], length: int) -> dict[str, np.ndarray]:
    """Fields of `Batch` that text alone needs: int32[B, L], positions int32[B, L, 3]."""
    shape = (len(rows), length)
    found = {name: np.zeros(shape, np.int32) for name in ("tokens", "segment_ids", "targets")}
    found["positions"] = np.zeros((*shape, 3), np.int32)
    for r, members in enumerate(rows):
        for segment, (each, place) in enumerate(_placed(members), 1):
            found["tokens"][r, place] = each.seen
            found["targets"][r, place] = each.told
            found["segment_ids"][r, place] = segment
            found["positions"][r, place] = np.arange(len(each.told))[:, None]
    return found


def _vocabulary(model: LoadedModel) -> int:
    def kernel(params: Any) -> Array:
        return nnx.merge(model.graphdef, params).output_kernel()

    return jax.eval_shape(kernel, model.params).shape[-1]


@partial(jax.jit, static_argnames=("graphdef", "chunk"))
def _logprobs(
    graphdef: nnx.GraphDef, params: Any, arrays: Mapping[str, Array], *, chunk: int
) -> Array:
    """float32[B, L]: of the targets. chunk: positions of every row whose logits exist at a time."""
    model = nnx.merge(graphdef, params)
    hidden, targets = model.hidden_states(arrays), arrays["targets"]
    length = targets.shape[1]

    def of_chunk(pair: tuple[Array, Array]) -> Array:
        logits = model.unembed(pair[0])
        told = jnp.take_along_axis(logits, pair[1][..., None], axis=-1)[..., 0]
        return told - jax.nn.logsumexp(logits, axis=-1)

    found = jax.lax.map(of_chunk, (_chunks(hidden, chunk), _chunks(targets, chunk)))
    return jnp.moveaxis(found, 0, 1).reshape(targets.shape[0], -1)[:, :length]


def _chunks(x: Array, size: int) -> Array:
    """[B, L, …] → [chunks, B, size, …], zeros at the end."""
    x = jnp.pad(x, [(0, 0), (0, -x.shape[1] % size)] + [(0, 0)] * (x.ndim - 2))
    return jnp.moveaxis(x.reshape(x.shape[0], -1, size, *x.shape[2:]), 1, 0)


def _everywhere(found: Array) -> np.ndarray:
    """The rows of all processes, on the host."""
    if jax.process_count() > 1:
        return np.asarray(multihost_utils.process_allgather(found, tiled=True))
    return np.asarray(found)
