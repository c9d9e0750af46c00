"""Prices of what a program computes outside of Pallas kernels.

The compiler's cycles are pessimistic for bfloat16 arithmetic outside of products; the roofline says
what memory and matrix units would allow. A real step lies between the two, as far as can be told
without a chip.
"""

import math
import re
from collections.abc import Callable, Iterator

from vsft_jax.plan.chips import Chip
from vsft_jax.plan.program.collectives import COLLECTIVES
from vsft_jax.plan.program.hlo import Instruction, Program, names, number_bytes

# (instruction, its operations in matrix products, the shapes of its operands) -> seconds
Price = Callable[[Instruction, float, list[str]], float]

# What large matrix products reach of the peak, and large copies of the memory's bandwidth.
PRODUCT_EFFICIENCY = 0.93
MEMORY_EFFICIENCY = 0.75

# Cycles that libtpu 0.0.42.1 writes for each register read or written, outside of products, by the
# kind of instruction. Sums over the step of Qwen2.5-VL-7B for v5p, of which single instructions lie
# within a fifth; reductions and copies cost more, whatever the type.
_REGISTER_CYCLES = {"fusion": 3.4, "copy": 6.1, "reduce": 12.3, "slice": 4.5}
_OTHER_REGISTER_CYCLES = 9.0
_REGISTER = 1024

# What moves nothing, as collectives do not here: names for values that are there, and what other
# instructions wait for.
_FREE = {
    "parameter",
    "constant",
    "tuple",
    "get-tuple-element",
    "bitcast",
    "after-all",
    "opt-barrier",
    "partition-id",
    "replica-id",
    "iota",
    "custom-call",
}
_STORED = re.compile(r"\b([a-z]\w*)\[([\d,]*)\](?:\{([\d,]*):?([^}]*)\})?")


def written_price(chip: Chip) -> Price:
    """By the `estimated_cycles` that libtpu writes beside instructions as it generates code."""
    return lambda instruction, flops, operands: instruction.cycles / chip.clock


def expected_price(program: Program, chip: Chip) -> Price:
    """By what libtpu would write if it generated code, as far as that follows from shapes."""
    roofline = roofline_price(program, chip)

    def price(instruction: Instruction, flops: float, operands: list[str]) -> float:
        least = roofline(instruction, flops, operands)
        if flops:
            return least
        registers = moved(instruction, operands, program, _registers)
        each = _REGISTER_CYCLES.get(instruction.opcode, _OTHER_REGISTER_CYCLES)
        return max(least, registers * each / chip.clock)

    return price


def roofline_price(program: Program, chip: Chip) -> Price:
    """The longer of the time for matrix products and that for what is read from and written to the
    chip's memory."""

    def price(instruction: Instruction, flops: float, operands: list[str]) -> float:
        size = moved(instruction, operands, program, stored_bytes)
        return max(
            flops / (PRODUCT_EFFICIENCY * chip.peak), size / (MEMORY_EFFICIENCY * chip.bandwidth)
        )

    return price


def moved(
    instruction: Instruction, operands: list[str], program: Program, size: Callable[[str], float]
) -> float:
    """What an instruction reads and writes.

    operands: their shapes. size: what is counted of a shape. Of an operand that is only sliced the
    slices are read; where a slice of a buffer is replaced, the slice is written.
    """
    opcode = instruction.opcode
    if opcode in _FREE or opcode in COLLECTIVES or opcode.endswith(("-start", "-done", "-update")):
        return 0.0
    if opcode == "dynamic-update-slice":
        return 2 * size(operands[1])
    if opcode in ("dynamic-slice", "slice", "gather"):
        return 2 * size(instruction.shape)
    written = size(instruction.shape)
    if opcode != "fusion":
        return written + sum(map(size, operands))
    inner = program.computations[instruction.called]
    shapes = {each.name: each.shape for each in inner}
    users: dict[str, list[Instruction]] = {}
    for each in inner:
        for name in names(each.operands):
            users.setdefault(name, []).append(each)
    read = 0.0
    for each in inner:
        if each.opcode == "dynamic-update-slice":
            update = names(each.operands)[1]
            if each.shape.split("{")[0] in instruction.shape:
                written -= size(each.shape) - size(shapes[update])
        if each.opcode != "parameter":
            continue
        whole, readers = size(operands[int(each.operands)]), users.get(each.name, [])
        if all(_takes_slice(other, each.name) for other in readers):
            whole = min(whole, sum(size(_slice_of(other)) for other in readers))
        read += whole
    return read + max(written, 0.0)


def _takes_slice(user: Instruction, name: str) -> bool:
    """Whether an instruction looks at a part of its first operand, which is `name`."""
    slicing = ("dynamic-slice", "slice", "gather", "dynamic-update-slice")
    return user.opcode in slicing and names(user.operands)[0] == name


def _slice_of(user: Instruction) -> str:
    """The shape of what is read: nothing of a buffer that is written into."""
    return "" if user.opcode == "dynamic-update-slice" else user.shape


def stored_bytes(shape: str) -> float:
    """Bytes that arrays take in the chip's main memory, with the padding of their tiles.

    shape: as HLO writes it with layouts: "bf16[1,64,80]{2,1,0:T(8,128)(2,1)}". Arrays in another
    memory space ("S(1)" is vector memory) count as nothing.
    """
    return sum(number_bytes(dtype) * count for dtype, count, main in _padded(shape) if main)


def _registers(shape: str) -> float:
    """Vector registers that arrays fill, wherever they lie; a number takes a place of 32 bits."""
    return sum(count for _, count, _ in _padded(shape)) / _REGISTER


def _padded(shape: str) -> Iterator[tuple[str, int, bool]]:
    """(dtype, numbers with the padding of tiles, whether in main memory) of every array."""
    for dtype, sides, order, rest in _STORED.findall(shape):
        dims = [int(n) for n in sides.split(",") if n]
        tile = re.search(r"T\(([\d,]+)\)", rest)
        if tile:
            minor = [int(n) for n in order.split(",") if n]
            for place, side in zip(minor, reversed(tile[1].split(",")), strict=False):
                dims[place] = -(-dims[place] // int(side)) * int(side)
        yield dtype, math.prod(dims), not re.search(r"S\([1-9]", rest)
