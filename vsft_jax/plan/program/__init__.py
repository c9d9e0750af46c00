"""A compiled TPU program, read.

In: what the compiler writes of it. Out: what it takes of time, products and links on a chip.
"""

from vsft_jax.plan.program.estimate import Cost, Estimator
from vsft_jax.plan.program.hlo import Program
from vsft_jax.plan.program.kernels import EVERY_BLOCK, Visits
from vsft_jax.plan.program.prices import Price, expected_price, roofline_price, written_price

__all__ = [
    "EVERY_BLOCK",
    "Cost",
    "Estimator",
    "Price",
    "Program",
    "Visits",
    "expected_price",
    "roofline_price",
    "written_price",
]
