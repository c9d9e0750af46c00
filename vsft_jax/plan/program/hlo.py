"""The text of HLO: a compiled program as instructions that can be asked about."""

import dataclasses
import re
from collections.abc import Iterator

_INSTRUCTION = re.compile(r"\s+(?:ROOT )?%?([\w.-]+) = ")
_COMPUTATION = re.compile(r"(ENTRY )?%?([\w.-]+) \(.*\{$")
_ARRAY = re.compile(r"\b([a-z]\w*)\[([\d,]*)\]")


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line of HLO: `name = shape opcode(operands), attributes`."""

    name: str
    shape: str
    opcode: str
    operands: str
    attributes: str

    @property
    def cycles(self) -> float:
        """libtpu's own estimate, 0 where it gives none."""
        return float(self.find(r'"estimated_cycles":"(\d+)"') or 0)

    @property
    def called(self) -> str:
        """The computation of a fusion, call or loop body."""
        return self.find(r"\b(?:calls|body|to_apply)=%?([\w.-]+)")

    @property
    def kernel(self) -> str:
        """The name of a Pallas call. Where it is run for one row after the other its instruction
        is named for the loop; where it comes from is said in the metadata then."""
        own = self.name.split(".")[0]
        return self.find(r"op_name=\"[^\"]*\b((?:splash|short_segments)_\w+|t?gmm\b)") or own

    def find(self, pattern: str) -> str:
        """The first group of a regular expression in the attributes, "" where it is not there."""
        found = re.search(pattern, self.attributes)
        return found[1] if found else ""


@dataclasses.dataclass(frozen=True)
class Program:
    """Computations of an HLO module by name, their instructions in the order of the schedule."""

    computations: dict[str, list[Instruction]]
    entry: str

    @classmethod
    def parse(cls, text: str) -> "Program":
        """Reads the text of a scheduled, optimized module.

        Raises ValueError where there is no entry computation.
        """
        computations: dict[str, list[Instruction]] = {}
        entry, current = None, None
        for line in _joined(text):
            header = _COMPUTATION.match(line)
            if header:
                current = computations.setdefault(header[2], [])
                entry = header[2] if header[1] else entry
            elif current is not None and (found := _INSTRUCTION.match(line)):
                current.append(_instruction(found[1], line[found.end() :]))
        if entry is None:
            raise ValueError("the text holds no entry computation of an HLO module")
        return cls(computations, entry)

    def within(self, instructions: list[Instruction]) -> Iterator[Instruction]:
        """Instructions, and those of the calls among them."""
        for each in instructions:
            yield each
            if each.opcode in ("call", "custom-call") and each.called:
                yield from self.within(self.computations[each.called])


def arrays(shape: str) -> list[tuple[str, tuple[int, ...]]]:
    """(dtype, dimensions) of every array in a shape."""
    return [
        (dtype, tuple(int(n) for n in dims.split(",") if n))
        for dtype, dims in _ARRAY.findall(shape)
    ]


def number_bytes(dtype: str) -> float:
    """Bytes of one number: "bf16" -> 2."""
    digits = re.search(r"\d+", dtype)
    return int(digits[0]) / 8 if digits else 1


def names(operands: str) -> list[str]:
    """Instructions or computations that a text names."""
    return re.findall(r"%([\w.-]+)", operands)


def _joined(text: str) -> Iterator[str]:
    """Lines of HLO text; what a string attribute broke into several lines is one again."""
    whole = ""
    for line in text.splitlines():
        if whole and not (_INSTRUCTION.match(line) or line in ("}", "") or line[0] in "%E"):
            whole += line
            continue
        yield whole
        whole = line
    yield whole


def _instruction(name: str, rest: str) -> Instruction:
    """`rest`: what stands after "name = "."""
    shape, rest = _closed(rest) if rest[0] == "(" else rest.split(" ", 1)
    opcode, rest = rest.lstrip().split("(", 1)
    operands, attributes = _closed("(" + rest)
    return Instruction(name, shape, opcode, operands[1:-1], attributes)


def _closed(text: str) -> tuple[str, str]:
    """Splits behind the parenthesis that closes the first one."""
    depth = 0
    for place, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth == 0:
            return text[: place + 1], text[place + 1 :]
    return text, ""
