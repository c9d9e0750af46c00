"""Collectives in HLO: which instruction begins, ends or is one, and how much it moves."""

import dataclasses
import math
import re
from collections.abc import Iterable
from typing import NamedTuple

from vsft_jax.plan.chips import BETWEEN_SLICES
from vsft_jax.plan.program.hlo import Instruction, Program, arrays, names, number_bytes

COLLECTIVES = (
    "all-gather",
    "all-reduce",
    "reduce-scatter",
    "all-to-all",
    "ragged-all-to-all",
    "collective-permute",
    "collective-broadcast",
)


class CollectiveStep(NamedTuple):
    """What an instruction does for a collective.

    size: bytes of the larger side on one chip. group: chips that take part. key: names the
    collective among those that go on. phase: "start", "done", or "whole".
    """

    kind: str
    size: float
    group: int
    key: str
    phase: str


def collective_step(instruction: Instruction, program: Program) -> CollectiveStep | None:
    """The part of a collective that an instruction is, None where it is none."""
    opcode = instruction.opcode
    if opcode in ("recv", "recv-done"):
        # Through the hosts to the same chip of other slices and, of as many bytes, from there.
        phase, (dtype, shape) = opcode.partition("-")[2], arrays(instruction.shape)[0]
        key = names(instruction.operands)[0] if phase else instruction.name
        size = number_bytes(dtype) * math.prod(shape)
        return CollectiveStep(BETWEEN_SLICES, size, 2, key, phase or "start")
    kind = re.sub(r"-(start|done)$", "", opcode)
    if kind in COLLECTIVES or kind == "async":
        if opcode.endswith("-done"):
            return CollectiveStep(kind, 0, 1, names(instruction.operands)[0], "done")
        phase = "start" if opcode.endswith("-start") else "whole"
        if kind in COLLECTIVES:
            return _describe(instruction, instruction.name, phase)
    if opcode not in ("fusion", "async-start"):
        return None
    inner = program.computations[instruction.called]
    moved = next((each for each in program.within(inner) if each.opcode in COLLECTIVES), None)
    if moved is None:
        return None
    if opcode == "async-start":
        return _describe(moved, instruction.name, "start")
    # An async collective fusion: one collective, in the background of several fusions that all
    # show it, under one channel.
    key = f"channel {moved.find(r'channel_id=([0-9]+)')}"
    targets = " ".join(each.attributes for each in inner if each.opcode == "custom-call")
    phase = "whole"
    for word, name in (("AsyncCollectiveStart", "start"), ("AsyncCollectiveDone", "done")):
        phase = name if word in targets else phase
    step = _describe(moved, key, phase)
    if "all-reduce-scatter" in f"{instruction.name} {instruction.called}":
        return step._replace(kind="reduce-scatter")
    return step


def passing_through(steps: Iterable[CollectiveStep]) -> set[str]:
    """Keys of collectives that begin before a computation and end after it, such as those in the
    background of a loop: its body shows them several times and neither their start nor end."""
    phases: dict[str, list[str]] = {}
    for step in steps:
        phases.setdefault(step.key, []).append(step.phase)
    return {key for key, seen in phases.items() if len(seen) > 1 and {*seen} == {"whole"}}


def without_passed_on(fusion: Instruction, operands: list[str]) -> tuple[Instruction, list[str]]:
    """A fusion and the shapes of its operands without what is passed on, as is, by the collective
    in its background: results that are operands under other names."""
    aliases = re.findall(r"\{(\d+)\}: \((\d+), \{\}\)", fusion.attributes)
    results, given = ({int(pair[i]) for pair in aliases} for i in (0, 1))
    shapes = re.findall(r"\w+\[[\d,]*\](?:\{[^}]*\})?", fusion.shape)
    kept = ", ".join(shape for i, shape in enumerate(shapes) if i not in results)
    left = ["" if i in given else shape for i, shape in enumerate(operands)]
    return dataclasses.replace(fusion, shape=f"({kept})"), left


def _describe(moved: Instruction, key: str, phase: str) -> CollectiveStep:
    kind = moved.opcode.removesuffix("-start")
    size = sum(number_bytes(dtype) * math.prod(shape) for dtype, shape in arrays(moved.shape))
    group = _group_size(moved.attributes)
    if kind == "reduce-scatter":
        size *= group
    elif kind == "all-gather" and moved.opcode.endswith("-start"):
        size *= group / (group + 1)  # the shape lists the inputs too
    return CollectiveStep(kind, size, group, key, phase)


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
