"""What a call of a Pallas kernel takes, which the compiler says nothing about: our own model."""

import re
from typing import NamedTuple

from vsft_jax.models.shared.attention.short_segments import TILE
from vsft_jax.models.shared.attention.splash import WINDOW_SCOPE
from vsft_jax.models.shared.experts.tiles import tile_rows, tile_sides
from vsft_jax.plan.chips import Chip
from vsft_jax.plan.program.hlo import Instruction, arrays, number_bytes
from vsft_jax.plan.program.prices import MEMORY_EFFICIENCY

# Efficiency of the matrix units in a splash kernel by the side of its blocks, and the cycles around
# each block, computed or passed over. From the instruction bundles that libtpu 0.0.52 schedules for
# v5e: see docs/tpu.md.
_EFFICIENCY = {128: 0.25, 256: 0.55}
_LARGE_BLOCK_EFFICIENCY = 0.9
_BLOCK_CYCLES = 400
# Of attention in short segments: cycles for a tile of a head's positions, its share of what a
# program begins with among them; matrix products; arrays that are read or written, and those of
# them that are read with a tile on either side of a block. Cycles as libtpu 0.0.42.1 schedules them
# for heads of width 80, alike for v5e and v5p, waiting among them: see docs/tpu.md.
_SHORT = {"forward": (217, 2, 4, 2), "backward": (390, 5, 8, 5)}


class Visits(NamedTuple):
    """Share of the blocks of scores that kernels visit in rows as they come, 0..1, of those that
    they visit in a row of a single segment. 1: every block.

    text: the language model's causal attention. frames: the tower's whole frames. near: of the
    language model's layers with a window, of all causal blocks.
    """

    text: float = 1.0
    frames: float = 1.0
    near: float = 1.0


EVERY_BLOCK = Visits()


def kernel_cost(call: Instruction, chip: Chip, visits: Visits = EVERY_BLOCK) -> tuple[float, float]:
    """(seconds, floating-point operations) of one call: of splash attention, of attention in short
    segments, or of a product of groups, whose rows are all taken to belong to some group.

    Other Pallas kernels count as nothing.
    """
    if call.kernel in ("gmm", "tgmm"):
        return _grouped_cost(call, chip)
    if call.kernel.startswith("short_segments_"):
        return _short_cost(call, chip)
    found = re.match(r"splash_mha_(fwd|dq|dkv)", call.kernel)
    if not found:
        return 0.0, 0.0
    kind, inputs = found[1], arrays(call.find(r"operand_layout_constraints=\{(.*?\})\}"))
    (_, rows, columns), (heads, length, width), (_, keys, _) = (inputs[i][1] for i in (0, 2, 3))
    blocks, block = rows * columns, keys // columns if kind == "dkv" else length // rows
    # Block lists (2) and segment ids (2); a causal call takes the queries' positions as well.
    causal = sum(dtype == "s32" for dtype, _ in inputs) > 4
    share = visits.text if causal else visits.frames
    if call.find(rf'op_name="[^"]*\b({WINDOW_SCOPE})\b'):
        share = visits.near
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


def _short_cost(call: Instruction, chip: Chip) -> tuple[float, float]:
    """Of attention in short segments, which goes through every tile of a row, on all cores."""
    (_, ids), (dtype, shape) = arrays(call.find(r"operand_layout_constraints=\{(.*?\})\}"))[:2]
    rows, heads, width, length = shape
    cycles, products, moved, around = _SHORT[call.kernel.removeprefix("short_segments_")]
    tiles = rows * heads * length / TILE
    busy = tiles * cycles / chip.clock / chip.cores
    beside = 2 * TILE / (ids[-1] - 2 * TILE)  # of a block
    size = rows * heads * width * length * number_bytes(dtype) * (moved + around * beside)
    seconds = max(busy, size / (MEMORY_EFFICIENCY * chip.bandwidth))
    return seconds, 2.0 * products * tiles * 2 * TILE**2 * width


def _grouped_cost(call: Instruction, chip: Chip) -> tuple[float, float]:
    """Of a product of groups of rows with matrices (`gmm`), or of rows with rows that gives the
    matrices' gradients (`tgmm`)."""
    inputs = arrays(call.find(r"operand_layout_constraints=\{(.*?\})\}"))
    (_, (rows, inner)), (_, last) = inputs[-2:]
    matrices = arrays(call.shape)[0][1] if call.kernel == "tgmm" else last
    # Of a product with turned matrices the inputs are their last side.
    groups, outputs = matrices[0], matrices[1] * matrices[2] // inner
    depth, width = tile_sides(inner, outputs)
    tile, across = tile_rows(rows, groups), -(-outputs // width)
    visited = rows / tile + groups  # a tile where groups meet once for each
    cores = min(chip.cores, across)
    steps = visited * across * -(-inner // depth)
    operations = 2 * visited * tile * inner * outputs
    speed = chip.peak * cores / chip.cores * _LARGE_BLOCK_EFFICIENCY
    busy = operations / speed + steps * _BLOCK_CYCLES / chip.clock / cores
    moved = 2 * (rows * inner * across + groups * inner * outputs + rows * outputs)
    seconds = max(busy, moved / (MEMORY_EFFICIENCY * chip.bandwidth))
    return seconds, 2.0 * rows * inner * outputs
