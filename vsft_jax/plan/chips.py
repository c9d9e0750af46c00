"""TPU chips and their pods, as far as planning needs to know them.

Sources: Google Cloud's TPU specification pages (peak, bandwidth, links), libtpu 0.0.52 (memory that
a program may use), "How to Scale Your Model" (network, from memory and unchecked, least certain of
v7x); clock rates follow from the peak and the number of matrix units.
"""

import dataclasses

GIB = 2**30
BETWEEN_SLICES = "between slices"  # the kind of what goes over the network of hosts


@dataclasses.dataclass(frozen=True)
class Chip:
    """One device as JAX counts them.

    hbm: bytes that a program may use, a little less than the chip has. peak: bfloat16 operations a
    second. bandwidth: bytes a second of its memory. clock: cycles a second. matrix_unit: side of a
    matrix unit. cores: tensor cores that the device's program runs on. link: bytes a second over
    one link in one direction. ring: chips along a torus axis from which on it closes to a ring.
    network: bytes a second to other slices, a chip's share of what its host sends.
    """

    name: str
    hbm: float
    peak: float
    bandwidth: float
    clock: float
    matrix_unit: int
    cores: int
    link: float
    ring: int
    network: float

    def collective_seconds(
        self, kind: str, size: float, group: int, topology: tuple[int, ...]
    ) -> float:
        """Time of one collective, by the ring model.

        Args:
            kind: "all-gather", "all-reduce", …, or `BETWEEN_SLICES`.
            size: bytes of the whole result (all-gather) or input (others) on one chip.
            group: chips that take part.
            topology: chips along each axis of the torus. The group is taken to fill whole axes,
                the longest first.
        """
        if kind == BETWEEN_SLICES:
            return size / self.network
        if group <= 1:
            return 0.0
        speed, hops, left = 0.0, 0, group
        for axis in sorted(topology, reverse=True):
            if left <= 1 or axis <= 1:
                break
            closed = axis >= self.ring and left >= axis
            speed += self.link * (2 if closed else 1)
            hops += axis // 2 if closed else min(axis, left) - 1
            left = -(-left // axis)
        moved = size * (group - 1) / group
        if kind == "all-reduce":
            moved *= 2
        elif kind in ("all-to-all", "ragged-all-to-all"):
            moved /= 4
        elif kind == "collective-permute":
            speed, hops = self.link, 1
        return moved / speed + hops * _HOP_SECONDS


_HOP_SECONDS = 1e-6

# topology prefix -> chip. A v7x chip shows as two devices, each with half of it.
CHIPS = {
    "v5e": Chip("TPU v5e", 15.75 * GIB, 197e12, 819e9, 1.5e9, 128, 1, 45e9, 16, 3.125e9),
    "v5p": Chip("TPU v5p", 95.73 * GIB, 459e12, 2765e9, 1.75e9, 128, 2, 90e9, 4, 6.25e9),
    "v6e": Chip("TPU v6e", 31.24 * GIB, 918e12, 1640e9, 1.75e9, 256, 1, 90e9, 16, 12.5e9),
    "tpu7x": Chip("TPU v7x core", 94.74 * GIB, 1153e12, 3690e9, 2.2e9, 256, 1, 90e9, 4, 6.25e9),
}


def parse_topology(name: str) -> tuple[Chip, tuple[int, ...]]:
    """ "v5e:16x16" -> the chip and the chips along each axis.

    Raises ValueError for an unknown chip or a name that is not like this.
    """
    kind, _, shape = name.partition(":")
    sides = shape.split("x")
    if kind not in CHIPS or not all(side.isdigit() and int(side) for side in sides):
        raise ValueError(
            f"config.plan.topology = {name!r}: expected a chip of {tuple(CHIPS)} and its "
            'arrangement, such as "v5e:16x16" or "v5p:4x4x4"'
        )
    return CHIPS[kind], tuple(int(side) for side in sides)
