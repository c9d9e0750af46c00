"""A static estimate of a compiled TPU program's time, from its scheduled HLO text.

Prices of instructions are added up along the schedule: loops times their trip count, collectives by
a ring model over the chip's links, in the background where the program starts them early; Pallas
calls by `kernel_cost`. Nothing is run, so this is a comparison of programs, not a promise of speed.
"""

import dataclasses
from collections.abc import Mapping

from vsft_jax.plan.chips import BETWEEN_SLICES, Chip
from vsft_jax.plan.program.collectives import (
    collective_step,
    passing_through,
    without_passed_on,
)
from vsft_jax.plan.program.hlo import Instruction, Program, names
from vsft_jax.plan.program.kernels import EVERY_BLOCK, Visits, kernel_cost
from vsft_jax.plan.program.prices import Price, written_price
from vsft_jax.plan.program.products import PRODUCTS, product_flops


@dataclasses.dataclass
class Cost:
    """What one run of a computation takes on one chip, by static estimates.

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
    """Costs of a program's computations on a chip of a topology (chips along each torus axis).

    price: of an instruction; by default what the compiler wrote. visits: blocks that kernels
    really visit. turns: of a loop whose number follows from data.
    """

    def __init__(
        self,
        program: Program,
        chip: Chip,
        topology: tuple[int, ...],
        price: Price | None = None,
        visits: Visits = EVERY_BLOCK,
        turns: float = 1.0,
    ):
        self.program, self.chip, self.topology = program, chip, topology
        self.price = price or written_price(chip)
        self.visits, self.turns = visits, turns
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
        free = {"network": 0.0, "links": 0.0}  # when they will have done what was started so far
        ends: dict[str, float] = {}  # collective in the background -> when it ends
        inside = {each.name: each for each in instructions}
        steps = {each.name: collective_step(each, self.program) for each in instructions}
        passing = passing_through(step for step in steps.values() if step)
        for instruction in instructions:
            step = steps[instruction.name]
            if step is not None and step.key in passing:
                cost.add(*self._own(instruction, inside, passing=True))
                continue
            cost.add(*self._own(instruction, inside))
            if instruction.opcode == "async-update":  # goes on under another name
                ends[instruction.name] = ends.pop(names(instruction.operands)[0], 0.0)
            if step is None or (step.phase == "whole" and step.key in ends):
                continue  # no collective, or one that merely goes on
            if step.phase != "done":
                seconds = self.chip.collective_seconds(
                    step.kind, step.size, step.group, self.topology
                )
                _count(cost.collectives, step.kind, [1, step.size, seconds])
                way = "network" if step.kind == BETWEEN_SLICES else "links"
                free[way] = max(free[way], cost.seconds) + seconds
                ends[step.key] = free[way]
            if step.phase != "start":
                wait = max(0.0, ends.pop(step.key, 0.0) - cost.seconds)
                cost.add(Cost(wait, waiting=wait))
        return cost

    def _own(
        self,
        instruction: Instruction,
        inside: Mapping[str, Instruction],
        passing: bool = False,
    ) -> tuple[Cost, float]:
        """(cost, how often) of an instruction without the collectives in it.

        inside: its computation's instructions, by name. passing: a collective in its background
        neither begins nor ends in this computation.
        """
        if instruction.opcode == "while":
            return self.cost(instruction.called), self._trips(instruction, inside)
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
            seconds, flops = kernel_cost(instruction, self.chip, self.visits)
            pallas = {instruction.kernel: [1, seconds]}
            return Cost(seconds, kernels=seconds, flops=flops, pallas=pallas), 1
        flops = self._product_flops(instruction, inside)
        operands = [inside[name].shape for name in names(instruction.operands) if name in inside]
        if passing:
            instruction, operands = without_passed_on(instruction, operands)
        seconds = self.price(instruction, flops, operands)
        if flops:
            return Cost(seconds, matrix=seconds, flops=flops), 1
        return Cost(seconds, other=seconds), 1

    def _product_flops(self, instruction: Instruction, inside: Mapping[str, Instruction]) -> float:
        """Operations of the matrix products in an instruction and the fusions inside of it."""
        if instruction.opcode == "fusion":
            fused = {each.name: each for each in self.program.computations[instruction.called]}
            return sum(self._product_flops(each, fused) for each in fused.values())
        if instruction.opcode not in PRODUCTS:
            return 0.0
        operands = (inside[name].shape for name in names(instruction.operands))
        return product_flops(instruction, *operands)

    def _trips(self, loop: Instruction, inside: Mapping[str, Instruction]) -> float:
        """How often a loop's body runs: as stated, or from where its counter begins to the number
        that it must reach, or `turns` where that is no constant."""
        stated = loop.find(r'"known_trip_count":\{"n":"(\d+)"')
        if stated:
            return int(stated)
        condition = self.program.computations[loop.find(r"condition=%?([\w.-]+)")]
        known = {each.name: each for each in condition}
        for each in condition:
            if each.opcode == "compare" and "direction=LT" in each.attributes:
                counter, limit = (known[name] for name in names(each.operands))
                if limit.opcode == "constant":
                    return int(limit.operands) - _start(loop, counter, inside)
        return self.turns


def _start(loop: Instruction, counter: Instruction, inside: Mapping[str, Instruction]) -> int:
    """What a loop's counter begins with: 0, or more where the compiler took iterations out."""
    given = inside.get(next(iter(names(loop.operands)), ""))
    place = counter.find(r"index=(\d+)")
    while given and given.opcode in ("tuple", "copy"):
        operands = names(given.operands)
        given = inside.get(operands[int(place) if given.opcode == "tuple" else 0])
    return int(given.operands) if given and given.opcode == "constant" else 0


def _count(table: dict[str, list[float]], name: str, numbers: list[float]) -> None:
    before = table.get(name, [0.0] * len(numbers))
    table[name] = [a + b for a, b in zip(before, numbers, strict=True)]
