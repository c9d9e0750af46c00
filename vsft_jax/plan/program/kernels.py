"""What a call of a Pallas kernel takes, which the compiler says nothing about: our own model."""

import re
from typing import NamedTuple

from vsft_jax.plan.chips import Chip
from vsft_jax.plan.program.hlo import Instruction, arrays

# Efficiency of the matrix units in a splash kernel by the side of its blocks, and the cycles around
# each block, computed or passed over. From the instruction bundles that libtpu 0.0.52 schedules for
# v5e: see docs/tpu.md.
_EFFICIENCY = {128: 0.25, 256: 0.55}
_LARGE_BLOCK_EFFICIENCY = 0.9
_BLOCK_CYCLES = 400


class Visits(NamedTuple):
    """Share of the blocks of scores that kernels visit in rows as they come, 0..1, of those that
    they visit in a row of a single segment. 1: every block.

    text: the language model's causal attention. frames, windows: the tower's whole frames, and its
    windows, of which a block looks at its two neighbours only.
    """

    text: float = 1.0
    frames: float = 1.0
    windows: float = 1.0


EVERY_BLOCK = Visits()


def kernel_cost(call: Instruction, chip: Chip, visits: Visits = EVERY_BLOCK) -> tuple[float, float]:
    """(seconds, floating-point operations) of one splash attention call.

    Other Pallas kernels count as nothing.
    """
    found = re.match(r"splash_mha_(fwd|dq|dkv)", call.kernel)
    if not found:
        return 0.0, 0.0
    kind, inputs = found[1], arrays(call.find(r"operand_layout_constraints=\{(.*?\})\}"))
    (_, rows, columns), (heads, length, width), (_, keys, _) = (inputs[i][1] for i in (0, 2, 3))
    blocks, block = rows * columns, keys // columns if kind == "dkv" else length // rows
    # Block lists (2) and segment ids (2); a causal call takes the queries' positions as well.
    causal = sum(dtype == "s32" for dtype, _ in inputs) > 4
    # Of the backward kernel over keys the blocks are listed the other way round.
    near = rows if kind == "dkv" else columns
    local = near == 3 < max(rows, columns)
    share = visits.text if causal else visits.windows if local else visits.frames
    # Of the shares of a row's queries, the mean.
    visited = share * (blocks * (1 + 1 / max(rows, columns)) / 2 if causal else blocks)
    # The fused backward kernel gives the queries' gradient too, in parts: a fourth dimension.
    fused = kind == "dkv" and any(len(shape) == 4 for _, shape in arrays(call.shape))
    products = {"fwd": 2, "dq": 3, "dkv": 5 if fused else 4}[kind]
    operations = 2 * products * heads * visited * block**2
    # Forward, the cores of a chip share the heads; the backward kernels are written for one core.
    cores = chip.cores if kind == "fwd" else 1
    speed = chip.peak * cores / chip.cores * _EFFICIENCY.get(block, _LARGE_BLOCK_EFFICIENCY)
    padded = -(-width // chip.matrix_unit) * chip.matrix_unit
    seconds = operations * padded / speed + heads * blocks * _BLOCK_CYCLES / chip.clock / cores
    return seconds, operations * width
