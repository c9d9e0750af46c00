"""A static estimate of a compiled TPU program's time, from its scheduled HLO text.

libtpu writes its own estimate of the cycles beside most instructions. Those are added up along the
schedule: loops times their trip count, collectives by a ring model over the chip's links, in the
background where the program starts them early; Pallas calls, which carry no estimate, by
`kernel_cost`. Nothing is run, so this is a comparison of programs, not a promise of speed.
"""

import dataclasses
import math
import re
from typing import NamedTuple

from vsft_jax.plan.chips import Chip
from vsft_jax.plan.hlo import Instruction, Program, arrays, names
from vsft_jax.plan.products import PRODUCTS, product_flops

COLLECTIVES = (
    "all-gather",
    "all-reduce",
    "reduce-scatter",
    "all-to-all",
    "ragged-all-to-all",
    "collective-permute",
    "collective-broadcast",
)


@dataclasses.dataclass
class Cost:
    """What one run of a computation takes on one chip, by libtpu's and our own estimates.

    seconds: along the schedule. matrix, kernels, other: seconds of compute: products, Pallas calls,
    the rest; waiting: seconds in which nothing but a collective goes on. flops: of matrix products
    and Pallas calls as compiled. collectives: kind -> [count, bytes, seconds]; pallas: kernel's
    name -> [count, seconds].
    """

    seconds: float = 0.0
    matrix: float = 0.0
    kernels: float = 0.0
    other: float = 0.0
    waiting: float = 0.0
    flops: float = 0.0
    collectives: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    pallas: dict[str, list[float]] = dataclasses.field(default_factory=dict)

    def add(self, part: "Cost", times: float = 1) -> None:
        """Adds `times` runs of a part."""
        for name in ("seconds", "matrix", "kernels", "other", "waiting", "flops"):
            setattr(self, name, getattr(self, name) + times * getattr(part, name))
        for ours, theirs in ((self.collectives, part.collectives), (self.pallas, part.pallas)):
            for name, numbers in theirs.items():
                _count(ours, name, [times * number for number in numbers])


class Estimator:
    """Costs of a program's computations on a chip of a topology (chips along each torus axis)."""

    def __init__(self, program: Program, chip: Chip, topology: tuple[int, ...]):
        self.program, self.chip, self.topology = program, chip, topology
        self._costs: dict[str, Cost] = {}

    def total(self) -> Cost:
        """One run of the whole program."""
        return self.cost(self.program.entry)

    def cost(self, name: str) -> Cost:
        """One run of a computation."""
        if name not in self._costs:
            self._costs[name] = self._run(self.program.computations[name])
        return self._costs[name]

    def _run(self, instructions: list[Instruction]) -> Cost:
        cost = Cost()
        links_free = 0.0  # when the links will have done what was started so far
        ends: dict[str, float] = {}  # collective in the background -> when it ends
        for instruction in instructions:
            cost.add(*self._own(instruction, instructions))
            if instruction.opcode == "async-update":  # goes on under another name
                ends[instruction.name] = ends.pop(names(instruction.operands)[0], 0.0)
            step = _collective_step(instruction, self.program)
            if step is None or (step.phase == "whole" and step.key in ends):
                continue  # no collective, or one that merely goes on
            if step.phase != "done":
                seconds = self.chip.collective_seconds(
                    step.kind, step.size, step.group, self.topology
                )
                _count(cost.collectives, step.kind, [1, step.size, seconds])
                links_free = max(links_free, cost.seconds) + seconds
                ends[step.key] = links_free
            if step.phase != "start":
                wait = max(0.0, ends.pop(step.key, 0.0) - cost.seconds)
                cost.add(Cost(wait, waiting=wait))
        return cost

    def _own(self, instruction: Instruction, siblings: list[Instruction]) -> tuple[Cost, int]:
        """(cost, how often) of an instruction without the collectives in it."""
        if instruction.opcode == "while":
            return self.cost(instruction.called), self._trips(instruction)
        if instruction.opcode == "conditional":
            # Which branch runs is data; the dearest is assumed.
            branches = names(instruction.find(r"branch_computations=\{(.*?)\}")) or [
                instruction.find(rf"{which}_computation=%?([\w.-]+)") for which in ("true", "false")
            ]
            costs = [self.cost(name) for name in branches]
            return max(costs, key=lambda cost: cost.seconds), 1
        if instruction.opcode == "call":
            return self.cost(instruction.called), 1
        if '"tpu_custom_call"' in instruction.attributes:
            seconds, flops = kernel_cost(instruction, self.chip)
            pallas = {instruction.kernel: [1, seconds]}
            return Cost(seconds, kernels=seconds, flops=flops, pallas=pallas), 1
        flops = self._product_flops(instruction, siblings)
        seconds = instruction.cycles / self.chip.clock
        if flops:
            return Cost(seconds, matrix=seconds, flops=flops), 1
        return Cost(seconds, other=seconds), 1

    def _product_flops(self, instruction: Instruction, siblings: list[Instruction]) -> float:
        """Operations of the matrix products in an instruction and the fusions inside of it."""
        if instruction.opcode == "fusion":
            inner = self.program.computations[instruction.called]
            return sum(self._product_flops(each, inner) for each in inner)
        if instruction.opcode not in PRODUCTS:
            return 0.0
        shapes = {each.name: each.shape for each in siblings}
        return product_flops(instruction, *(shapes[name] for name in names(instruction.operands)))

    def _trips(self, loop: Instruction) -> int:
        """How often a loop's body runs: as stated, or the number that its counter must reach."""
        stated = loop.find(r'"known_trip_count":\{"n":"(\d+)"')
        if stated:
            return int(stated)
        condition = self.program.computations[loop.find(r"condition=%?([\w.-]+)")]
        limits = {
            each.name: int(each.operands)
            for each in condition
            if each.opcode == "constant" and each.operands.isdigit()
        }
        for each in condition:
            if each.opcode == "compare" and "direction=LT" in each.attributes:
                found = [limits[name] for name in names(each.operands) if name in limits]
                if found:
                    return found[0]
        raise ValueError(f"the trip count of HLO loop {loop.name} is not known")


# Efficiency of the matrix units in a splash kernel by the side of its blocks, and the cycles around
# each block, computed or passed over. From the instruction bundles that libtpu 0.0.52 schedules for
# v5e: see docs/tpu.md.
_EFFICIENCY = {128: 0.25, 256: 0.55}
_LARGE_BLOCK_EFFICIENCY = 0.9
_BLOCK_CYCLES = 400


def kernel_cost(call: Instruction, chip: Chip) -> tuple[float, float]:
    """(seconds, floating-point operations) of one splash attention call: our own model.

    Counts every block that the kernel could visit, as if each row were one segment; real rows hold
    several and take less. Other Pallas kernels count as nothing.
    """
    found = re.match(r"splash_mha_(fwd|dq|dkv)", call.kernel)
    if not found:
        return 0.0, 0.0
    kind, inputs = found[1], arrays(call.find(r"operand_layout_constraints=\{(.*?\})\}"))
    (_, rows, columns), (heads, length, width) = inputs[0][1], inputs[2][1]
    blocks, block = rows * columns, length // (columns if kind == "dkv" else rows)
    # Block lists (2) and segment ids (2); a causal call takes the queries' positions as well.
    causal = sum(dtype == "s32" for dtype, _ in inputs) > 4
    visited = blocks * (1 + 1 / rows) / 2 if causal else blocks
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


class _Step(NamedTuple):
    """What an instruction does for a collective.

    size: bytes of the larger side on one chip. group: chips that take part. key: names the
    collective among those that go on. phase: "start", "done", or "whole".
    """

    kind: str
    size: float
    group: int
    key: str
    phase: str


def _collective_step(instruction: Instruction, program: Program) -> _Step | None:
    opcode = instruction.opcode
    kind = re.sub(r"-(start|done)$", "", opcode)
    if kind in COLLECTIVES or kind == "async":
        if opcode.endswith("-done"):
            return _Step(kind, 0, 1, names(instruction.operands)[0], "done")
        phase = "start" if opcode.endswith("-start") else "whole"
        if kind in COLLECTIVES:
            return _describe(instruction, program, instruction.name, phase)
    if opcode not in ("fusion", "async-start"):
        return None
    inner = program.computations[instruction.called]
    moved = next((each for each in program.within(inner) if each.opcode in COLLECTIVES), None)
    if moved is None:
        return None
    if opcode == "async-start":
        return _describe(moved, program, instruction.name, "start")
    # An async collective fusion: one collective, in the background of several fusions that all
    # show it, under one channel.
    key = f"channel {moved.find(r'channel_id=([0-9]+)')}"
    targets = " ".join(each.attributes for each in inner if each.opcode == "custom-call")
    phase = "whole"
    for word, name in (("AsyncCollectiveStart", "start"), ("AsyncCollectiveDone", "done")):
        phase = name if word in targets else phase
    step = _describe(moved, program, key, phase)
    if "all-reduce-scatter" in f"{instruction.name} {instruction.called}":
        return step._replace(kind="reduce-scatter")
    return step


def _describe(moved: Instruction, program: Program, key: str, phase: str) -> _Step:
    kind = moved.opcode.removesuffix("-start")
    size = sum(_size(dtype, shape) for dtype, shape in arrays(moved.shape))
    group = _group_size(moved.attributes)
    if kind == "reduce-scatter":
        size *= group
    elif kind == "all-gather" and moved.opcode.endswith("-start"):
        size *= group / (group + 1)  # the shape lists the inputs too
    return _Step(kind, size, group, key, phase)


def _group_size(attributes: str) -> int:
    """Chips in one of the `replica_groups`, which come in three notations."""
    axes = re.search(r"replica_groups=mesh\[(.*?)\][^{]* \{(.*?)\}", attributes)
    if axes:
        sizes = dict(re.findall(r"'(\w+)'=(\d+)", axes[1]))
        return math.prod(int(sizes[axis]) for axis in re.findall(r"'(\w+)'", axes[2]))
    iota = re.search(r"replica_groups=\[\d+,(\d+)\]<=", attributes)
    if iota:
        return int(iota[1])
    listed = re.search(r"replica_groups=\{\{([\d,]*)\}", attributes)
    return len(listed[1].split(",")) if listed else 1


def _size(dtype: str, shape: tuple[int, ...]) -> float:
    digits = re.search(r"\d+", dtype)
    return math.prod(shape) * (int(digits[0]) / 8 if digits else 1)


def _count(table: dict[str, list[float]], name: str, numbers: list[float]) -> None:
    before = table.get(name, [0.0] * len(numbers))
    table[name] = [a + b for a, b in zip(before, numbers, strict=True)]
