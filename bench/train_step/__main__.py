"""A training step of this repository against transformers and PyTorch's SDPA:

    python -m bench.train_step                        # about four minutes on two cores
    python -m bench.train_step --shape 3b --rows 16   # on a GPU with 80 GB

Both sides have the same weights, take turns on the same examples (pictures, clips of 2 to 16
frames and text, of which answers are learnt) and make the same update: forward, backward, clipping
by the global norm, AdamW. Here they are packed into one row, 98 % full; there they are padded to
a batch, and, as the other way, computed one by one. Compiling and the first two steps are not
timed; the losses of the very first, which all sides take from the same weights, are printed. Then
the cost of longer rows: the same kinds of examples, more of them.

On a machine that others use too, torch's threads spin while they wait for each other, which counts
as CPU time: give it one thread there, and compare CPU times only.
"""

import argparse
import os
import statistics
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import torch
import transformers

from bench.attention import timed
from bench.train_step.mixed_row import PATCHES, SHAPES, TOKENS, Shape, examples, tokens
from bench.train_step.ours import our_step
from bench.train_step.theirs import Theirs
from vsft_jax.models.qwen2_5_vl.config import from_hf

Step = Callable[[], float]


class Seconds(NamedTuple):
    """Of a step."""

    cpu: float
    wall: float


def main() -> None:
    """Prints a table of pairs, and one of longer rows."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shape", choices=SHAPES, default="small")
    parser.add_argument("--rows", type=int, default=1, help="usual rows in the row compared")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--longer", type=int, nargs="*", default=[1, 2, 4], help="usual rows")
    parser.add_argument("--torch-threads", type=int, help="by default as many as cores")
    options = parser.parse_args()
    shape = SHAPES[options.shape]
    theirs = Theirs(shape, options.torch_threads)
    print(
        f"{shape.name}, {shape.dtype}, remat {shape.remat}; jax {jax.__version__} on "
        f"{jax.devices()[0].device_kind}, torch {torch.__version__} with {torch.get_num_threads()} "
        f"threads, transformers {transformers.__version__}; {os.cpu_count()} cores, load average "
        f"{os.getloadavg()[0]:.1f} at the start\n"
    )
    config = from_hf(theirs.model.config.to_dict(), **_compute(shape))
    given = examples(options.rows)
    used = sum(tokens(config, example) for example in given) / options.rows
    weights = theirs.weights
    steps: Mapping[str, Step] = {
        "ours": our_step(config, weights, given, options.rows),
        "padded": theirs.stepper(config, given, padded=True),
        "one by one": theirs.stepper(config, given, padded=False),
    }
    losses = {}
    for name, step in steps.items():
        losses[name] = step()
        theirs.reset(weights)
    print(
        f"A row of {options.rows * TOKENS} tokens and {options.rows * PATCHES} patches, "
        f"{len(given)} examples, {used / TOKENS:.1%} full."
    )
    print("Losses of the first step: " + ", ".join(f"{k} {v:.4f}" for k, v in losses.items()))
    compare(steps, options.pairs)
    if options.longer:
        print("\n| tokens a row | compiling and a step, s | CPU / wall ms | times the first |")
        print("|---|---|---|---|")
        first = 0.0
        for rows in options.longer:
            step = our_step(config, weights, examples(rows), rows)
            compiling = _seconds(step)
            step()
            found = [_seconds(step) for _ in range(options.pairs)]
            cpu, wall = (statistics.median(column) for column in zip(*found, strict=True))
            first = first or cpu
            print(
                f"| {rows * TOKENS} | {compiling.wall:.1f} | {cpu * 1e3:.0f} / {wall * 1e3:.0f} "
                f"| {cpu / first:.2f} |",
                flush=True,
            )


def compare(steps: Mapping[str, Step], pairs: int) -> None:
    """Lets the sides take turns; "ours" is what the others are compared with."""
    for step in steps.values():
        step()
    print("\n| pair | " + " | ".join(f"{name}, CPU / wall ms" for name in steps) + " | ratios |")
    print("|---" * (len(steps) + 2) + "|")
    ratios: list[list[float]] = []
    for pair in range(1, pairs + 1):
        took = {name: _seconds(step) for name, step in steps.items()}
        ours = took["ours"]
        others = [took[name] for name in steps if name != "ours"]
        ratios.append([side / own for each in others for side, own in zip(each, ours, strict=True)])
        print(
            f"| {pair} | "
            + " | ".join(f"{t.cpu * 1e3:.0f} / {t.wall * 1e3:.0f}" for t in took.values())
            + f" | {_shown(ratios[-1])} |",
            flush=True,
        )
    medians = [statistics.median(column) for column in zip(*ratios, strict=True)]
    print(f"medians: {_shown(medians)} times ours ({', '.join(k for k in steps if k != 'ours')})")


def _shown(ratios: list[float]) -> str:
    pairs = zip(ratios[::2], ratios[1::2], strict=True)
    return ", ".join(f"{cpu:.2f} / {wall:.2f}" for cpu, wall in pairs)


def _seconds(step: Step) -> Seconds:
    return Seconds(*timed(step))


def _compute(shape: Shape) -> dict[str, str]:
    return {"dtype": shape.dtype, "remat": shape.remat, "attention": "auto"}


if __name__ == "__main__":
    main()
