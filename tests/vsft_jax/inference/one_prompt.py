"""Prompts that share nothing with others, one a row."""

import jax
import numpy as np

from vsft_jax.inference import generate as generate_packed
from vsft_jax.inference.decoding import Endings


def alone(arrays, lengths):
    """One prompt a row: all but its last token as its beginning, and that as its ending."""
    rows, last = np.arange(len(lengths)), np.maximum(np.asarray(lengths) - 1, 0)
    arrays = {name: np.array(value) for name, value in arrays.items()}
    is_prompt = np.asarray(lengths) > 0
    next_positions = arrays["positions"].max(axis=(1, 2)) + 1
    endings = Endings(
        tokens=arrays["tokens"][rows, last][:, None],
        positions=arrays["positions"][rows, last][:, None],
        prompts=is_prompt[:, None].astype(np.int32),
        last=np.where(is_prompt, 0, -1)[:, None].astype(np.int32),
        beginnings=is_prompt[:, None].astype(np.int32),
        next_positions=next_positions[:, None].astype(np.int32),
    )
    for name in ("tokens", "positions", "segment_ids"):
        arrays[name][rows, last] = 0
    return arrays, endings


def generate(graphdef, params, arrays, lengths, decoding, *, seed=0, keys=None):
    """Continues one prompt a row: fields of `Generated` without the axis of prompts."""
    arrays, endings = alone(arrays, lengths)
    keys = None if keys is None else np.asarray(keys)[:, None]
    found = generate_packed(graphdef, params, arrays, endings, decoding, seed=seed, keys=keys)
    return jax.tree.map(lambda x: x[:, 0], found)
