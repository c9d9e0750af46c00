"""Attention on this machine: tiles inside segments against all scores of a row.

    python -m bench.attention

Forward and backward in float32, compiled apart from the timing. Rows are packed as training packs
them: segments of half to one and a half times a mean, 2 % padding. `xla` is what runs where neither
TPU nor CPU is; its windows look at neighbouring blocks only.
"""

import argparse
import os
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vsft_jax.models.shared.attention import attention


class Row(NamedTuple):
    """A packed row: its length and the mean length of its segments."""

    what: str
    length: int
    segment: int
    heads: int
    kv_heads: int
    width: int
    causal: bool
    window: int | None = None


ROWS = (
    *(Row("language model", length, 200, 8, 2, 64, True) for length in (1024, 2048, 4096)),
    Row("language model, one example a row", 4096, 8192, 8, 2, 64, True),
    Row("tower, frames of 576 patches", 2304, 576, 8, 8, 32, False),
    Row("tower, windows of 64 patches", 2304, 64, 8, 8, 32, False, window=64),
)


def main() -> None:
    """Times every row both ways, pair by pair, and prints a table of CPU and wall time."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pairs", type=int, default=5)
    pairs = parser.parse_args().pairs
    print(
        f"jax {jax.__version__} on {jax.devices()[0].device_kind}, {os.cpu_count()} cores, load "
        f"average {os.getloadavg()[0]:.1f} at the start; medians of {pairs} pairs\n"
    )
    print("| row | xla, CPU / wall ms | segments, CPU / wall ms | ratio of CPU, each pair |")
    print("|---|---|---|---|")
    for row in ROWS:
        compiled = [_compiled(row, way) for way in ("xla", "segments")]
        times = np.array([[list(timed(run)) for run in compiled] for _ in range(pairs)])
        ratios = sorted(times[:, 0, 0] / times[:, 1, 0])
        (xla, segments) = np.median(times, axis=0) * 1e3
        print(
            f"| {row.what}, {row.length} | {xla[0]:.0f} / {xla[1]:.0f} | "
            f"{segments[0]:.0f} / {segments[1]:.0f} | {ratios[0]:.2f}–{ratios[-1]:.2f} |"
        )


def _compiled(row: Row, way: str) -> Callable[[], Any]:
    rng = np.random.default_rng(0)
    ids = jnp.asarray(_segment_ids(row, rng))
    sizes = [(1, row.length, heads, row.width) for heads in (row.heads, *[row.kv_heads] * 2)]
    given = [jnp.asarray(rng.normal(size=size), jnp.float32) for size in sizes]

    def total(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        out = attention(
            *(q, k, v),
            segment_ids=ids,
            causal=row.causal,
            max_segment_length=row.window,
            implementation=way,
        )
        return (jnp.where((ids > 0)[..., None, None], out, 0) ** 2).sum()

    step = jax.jit(jax.value_and_grad(total, argnums=(0, 1, 2)))
    jax.block_until_ready(step(*given))
    return lambda: jax.block_until_ready(step(*given))


def _segment_ids(row: Row, rng: np.random.Generator) -> np.ndarray:
    """int32[1, L]; windows and frames are all of one size."""
    if not row.causal:
        return (np.arange(row.length, dtype=np.int32) // row.segment + 1)[None]
    lengths = rng.integers(row.segment // 2, 3 * row.segment // 2, size=row.length)
    ids = np.repeat(np.arange(1, row.length + 1, dtype=np.int32), lengths)[: row.length]
    ids[int(0.98 * row.length) :] = 0
    return ids[None]


def timed(run: Callable[[], Any]) -> Iterator[float]:
    """CPU and wall seconds."""
    cpu, wall = time.process_time(), time.perf_counter()
    run()
    yield time.process_time() - cpu
    yield time.perf_counter() - wall


if __name__ == "__main__":
    main()
