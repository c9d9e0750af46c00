"""Floating-point operations of matrix products in HLO, as XLA's own cost analysis counts them."""

import functools
import math
import re

import numpy as np

from vsft_jax.plan.program.hlo import Instruction, arrays

PRODUCTS = ("dot", "convolution")


def product_flops(product: Instruction, left: str, right: str) -> float:
    """2 for each multiplication of a `dot` or `convolution` that is no padding.

    left, right: shapes of the operands, as HLO writes them. On TPUs a product is a convolution, and
    dimensions of a batch are places of a window that slides so that it meets one value at a time.
    """
    ours, theirs, out = (arrays(shape)[0][1] for shape in (left, right, product.shape))
    if product.opcode == "dot":
        contracted = product.find(r"lhs_contracting_dims=\{([\d,]*)\}").split(",")
        return 2.0 * math.prod(out) * math.prod(ours[int(dim)] for dim in contracted if dim)
    labels = re.split("_|->", product.find(r"dim_labels=([\w>-]+)"))
    inputs, kernels, outputs = (
        dict(zip(names, sizes, strict=True))
        for names, sizes in zip(labels, (ours, theirs, out), strict=True)
    )
    flops = 2.0 * kernels["i"] * math.prod(size for name, size in outputs.items() if name in "bf")
    window = product.find(r"window=\{([^}]*)\}")
    for dim in sorted(name for name in outputs if name.isdigit()):
        flops *= _meetings(inputs[dim], outputs[dim], *_window(window, int(dim)))
    return flops


def _window(text: str, dim: int) -> tuple[int, ...]:
    """(size, stride, padding before, dilation of the input, of the window) along a dimension."""

    def along(name: str, default: str) -> str:
        found = re.search(rf"\b{name}=([\dx_-]+)", text)
        return found[1].split("x")[dim] if found else default

    before = along("pad", "0_0").split("_")[0]
    rest = (along(name, "1") for name in ("lhs_dilate", "rhs_dilate"))
    return tuple(map(int, (along("size", "1"), along("stride", "1"), before, *rest)))


@functools.cache
def _meetings(
    inputs: int, outputs: int, size: int, stride: int, before: int, dilation: int, spread: int
) -> int:
    """Pairs of an output and a place of its window that lies on a value of the input."""
    starts = np.arange(outputs) * stride - before
    count = 0
    for place in range(size):
        at = starts + place * spread
        count += int(np.count_nonzero((at >= 0) & (at % dilation == 0) & (at // dilation < inputs)))
    return count
