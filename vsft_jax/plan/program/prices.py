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
    roofline, registers = roofline_price(program, chip), Traffic(program, _registers)

    def price(instruction: Instruction, flops: float, operands: list[str]) -> float:
        least = roofline(instruction, flops, operands)
        if flops:
            return least
        each = _REGISTER_CYCLES.get(instruction.opcode, _OTHER_REGISTER_CYCLES)
        return max(least, registers.of(instruction, operands) * each / chip.clock)

    return price


def roofline_price(program: Program, chip: Chip) -> Price:
    """The longer of the time for matrix products and that for what is read from and written to the
    chip's memory."""
    traffic = Traffic(program, stored_bytes)

    def price(instruction: Instruction, flops: float, operands: list[str]) -> float:
        size = traffic.of(instruction, operands)
        return max(
            flops / (PRODUCT_EFFICIENCY * chip.peak), size / (MEMORY_EFFICIENCY * chip.bandwidth)
        )

    return price


class Traffic:
    """What instructions of a program read and write. size: what is counted of a shape.

    Of an operand that is only sliced the slices are read; where a slice of a buffer is replaced,
    the slice is written.
    """

    def __init__(self, program: Program, size: Callable[[str], float]):
        self.program, self.size = program, size
        self._users: dict[str, dict[str, list[Instruction]]] = {}

    def of(self, instruction: Instruction, operands: list[str]) -> float:
        """operands: their shapes."""
        opcode, size = instruction.opcode, self.size
        waits = opcode.endswith(("-start", "-done", "-update"))
        if opcode in _FREE or opcode in COLLECTIVES or waits:
            return 0.0
        if opcode == "dynamic-update-slice":
            return 2 * size(operands[1])
        if opcode in ("dynamic-slice", "slice", "gather"):
            return 2 * size(instruction.shape)
        written = size(instruction.shape)
        if opcode != "fusion":
            return written + sum(map(size, operands))
        inner = self.program.computations[instruction.called]
        shapes = {each.name: each.shape for each in inner}
        read = 0.0
        for each in inner:
            if each.opcode == "parameter":
                whole = size(operands[int(each.operands)])
                read += self._read(each.name, instruction.called, whole)
            elif each.opcode == "dynamic-update-slice" and _is_part(each.shape, instruction.shape):
                written -= size(each.shape) - size(shapes[names(each.operands)[1]])
        return read + max(written, 0.0)

    def _read(self, name: str, computation: str, whole: float) -> float:
        """Of a value in a fusion, whose size is `whole`: all of it or the slices that are taken."""
        total = 0.0
        for user in self._users_in(computation).get(name, ()):
            given = names(user.operands)
            if user.opcode == "dynamic-update-slice" and given[0] == name:
                continue  # a buffer that is written into
            if user.opcode in ("dynamic-slice", "slice", "gather") and given[0] == name:
                total += self.size(user.shape)
            elif user.opcode == "bitcast":
                total += self._read(user.name, computation, whole)
            elif user.opcode == "fusion":
                for each in self.program.computations[user.called]:
                    if each.opcode == "parameter" and given[int(each.operands)] == name:
                        total += self._read(each.name, user.called, whole)
            else:
                return whole
        return min(total, whole)

    def _users_in(self, computation: str) -> dict[str, list[Instruction]]:
        if computation not in self._users:
            users = self._users.setdefault(computation, {})
            for each in self.program.computations[computation]:
                for name in set(names(each.operands)):
                    users.setdefault(name, []).append(each)
        return self._users[computation]


def _is_part(shape: str, whole: str) -> bool:
    """Whether a tuple holds an array of these dimensions, or is one."""
    return shape.split("{")[0] in whole


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
