"""A predictor of the smallest sufficient budget: what it says, and the file it lies in.

It is a small network, fitted by `evaluation.budget`: the mean of the rows of a table for the words,
and a few standardised numbers, then one hidden layer, then a softmax over the counts of frames that
the model was asked at. Saying something takes numpy alone, one question at a time in float64, so
that a question is answered the same alone, among others and in a process without an accelerator.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from input_pipeline.errors import UserError
from input_pipeline.files import write_atomically
from input_pipeline.frame_budget.learned.features import (
    BUCKETS,
    NUMBERS,
    VERSION,
    Features,
)
from input_pipeline.paths import is_remote

_HEAD = "vsft_frame_budget"  # of the file's metadata
_MOST_BYTES = 1 << 26  # of a file; one takes some 80 kB
_BOUND = 3.0  # standard deviations: beyond what was seen, a number counts as the end of it
_DIGITS = 9  # of a probability: what machines may differ in is not decided by


class PredictorError(UserError, ValueError):
    """A predictor's file cannot be used; the message names it, the key and what to do."""


@dataclasses.dataclass(frozen=True, eq=False)
class Predictor:
    """counts: numbers of frames, rising; the last one suffices by definition. weights: arrays by
    name, see `SHAPES`. about: JSON values, what it was fitted to and how well it did."""

    counts: tuple[int, ...]
    weights: Mapping[str, np.ndarray]
    about: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def needs(self, features: Features) -> np.ndarray:
        """float64[C]: the probability of each count to be the smallest that suffices."""
        w = self.weights
        rows = np.asarray(w["table"][list(features.grams)], np.float64)
        words = rows.mean(axis=0) if len(rows) else np.zeros(w["table"].shape[1])
        numbers = (np.asarray(features.numbers) - w["mean"]) / w["deviation"]
        inputs = np.concatenate([words, np.clip(numbers, -_BOUND, _BOUND)])
        # Not as products of matrices, whose order of sums depends on the machine.
        hidden = np.tanh((inputs[:, None] * w["hidden"]).sum(axis=0) + w["hidden_bias"])
        logits = (hidden[:, None] * w["out"]).sum(axis=0) + w["out_bias"]
        odds = np.exp(logits - logits.max())
        return odds / odds.sum()

    def suffices(self, features: Features) -> dict[int, float]:
        """Count → the probability that it suffices: never less for more frames, 1 for the last."""
        found = np.round(np.cumsum(self.needs(features)), _DIGITS)
        return {count: float(p) for count, p in zip(self.counts, [*found[:-1], 1.0], strict=True)}

    def to_bytes(self) -> bytes:
        """A safetensors file; equal predictors make equal bytes."""
        head = {"version": VERSION, "counts": list(self.counts), "about": dict(self.about)}
        arrays = {name: np.ascontiguousarray(each) for name, each in self.weights.items()}
        # One key: the library puts several in any order.
        return safetensors.numpy.save(arrays, {_HEAD: json.dumps(head, sort_keys=True)})

    def save(self, path: str | Path) -> str:
        """Writes the file, whole or not at all, and returns its `digest`."""
        data = self.to_bytes()
        write_atomically(path, data)
        return digest(data)


def digest(data: bytes) -> str:
    """The SHA-256 of a predictor's file, by which policies name it."""
    return hashlib.sha256(data).hexdigest()


def budget_at(suffices: Mapping[int, float], threshold: float) -> int:
    """The smallest count whose probability to suffice passes the threshold, else the largest.

    suffices: of `Predictor.suffices`, or some of its counts, rising.
    """
    return next((count for count, p in suffices.items() if p >= threshold), max(suffices))


def read(path: str) -> bytes:
    """The bytes of a predictor's file, here or at an address. Raises PredictorError."""
    try:
        if is_remote(path):
            from input_pipeline.media.sources import read_source  # imports decoders

            return read_source(path, _MOST_BYTES)
        return Path(path).read_bytes()
    except FileNotFoundError:
        why = "there is no such file"
    except (OSError, UserError) as error:
        why = f"it cannot be read: {error}"
    raise PredictorError(
        f"frame budget: 'path' of kind 'learned' is {path!r}, and {why}. --job=budget writes one "
        "into a run's folder; of a model that was trained with it, put the file back, or ask with "
        "another policy (--config.eval.frames)"
    )


def load(data: bytes, path: str) -> Predictor:
    """A predictor from the bytes of its file. path: for errors. Raises PredictorError."""
    try:
        metadata, arrays = _metadata(data), safetensors.numpy.load(data)
        head = json.loads(metadata[_HEAD])
        version = head["version"]
    except (safetensors.SafetensorError, KeyError, ValueError, TypeError) as error:
        raise PredictorError(
            f"frame budget: 'path' of kind 'learned': {path} is no predictor that --job=budget "
            f"wrote ({type(error).__name__}: {str(error)[:100]}): name one, or fit it anew"
        ) from error
    if version != VERSION:
        raise PredictorError(
            f"frame budget: 'path' of kind 'learned': {path} is of version {version!r}, and this "
            f"code reads version {VERSION}: fit it anew with --job=budget"
        )
    counts = tuple(head["counts"])
    wrong = [
        f"{name} {arrays[name].shape if name in arrays else 'missing'}"
        for name, shape in shapes(counts, arrays).items()
        if name not in arrays or arrays[name].shape != shape
    ]
    if wrong or len(counts) < 2 or list(counts) != sorted(set(counts)):
        raise PredictorError(
            f"frame budget: 'path' of kind 'learned': {path} is damaged ({', '.join(wrong)}; "
            f"counts {counts}): fit it anew with --job=budget"
        )
    return Predictor(counts, arrays, head["about"])


def shapes(counts: tuple[int, ...], arrays: Mapping[str, np.ndarray]) -> dict[str, tuple[int, ...]]:
    """The shapes that a predictor's arrays must have, by its counts, the width of its table and
    that of its hidden layer."""
    table, hidden = arrays.get("table"), arrays.get("hidden_bias")
    width = table.shape[-1] if table is not None and table.ndim else 0
    units = hidden.shape[-1] if hidden is not None and hidden.ndim else 0
    return {
        "table": (BUCKETS, width),
        "mean": (len(NUMBERS),),
        "deviation": (len(NUMBERS),),
        "hidden": (width + len(NUMBERS), units),
        "hidden_bias": (units,),
        "out": (units, len(counts)),
        "out_bias": (len(counts),),
    }


def _metadata(data: bytes) -> dict[str, str]:
    """The words in the head of a safetensors file, for which the library wants a file on disk."""
    size = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + size])["__metadata__"]
