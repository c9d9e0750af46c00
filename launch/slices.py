"""A slice of TPUs: its names in gcloud, GKE and xpk, how many hosts it has, and libtpu's flags.

Sources: Google Cloud's pages on TPU versions and on TPUs in GKE. Chips are named as in
`config.plan.topology`, so that what was planned is what is launched.
"""

import dataclasses
import math
import re

from input_pipeline.errors import UserError, did_you_mean


class LaunchError(UserError):
    """What is asked for cannot be launched."""


@dataclasses.dataclass(frozen=True)
class Kind:
    """A TPU version. accelerator: of gcloud, before the number; per_chip: what that counts.
    runtime: the image of its VMs. gke: the node label. dimensions: of a topology. chips_a_host: in
    slices of several hosts."""

    accelerator: str
    per_chip: int
    runtime: str
    gke: str
    dimensions: int
    chips_a_host: int = 4


KINDS = {
    "v5e": Kind("v5litepod", 1, "v2-alpha-tpuv5-lite", "tpu-v5-lite-podslice", 2),
    "v5p": Kind("v5p", 2, "v2-alpha-tpuv5", "tpu-v5p-slice", 3),
    "v6e": Kind("v6e", 1, "v2-alpha-tpuv6e", "tpu-v6e-slice", 2),
}

# Names as in MaxText's library of flags. Each is accepted by the libtpu that jax[tpu] names, and
# none is needed for a run to be right; options of the step alone are config.train.tpu_options.
_OVERLAPPED_GATHERS = {
    "xla_tpu_enable_async_collective_fusion": "true",
    "xla_tpu_enable_async_collective_fusion_fuse_all_gather": "true",
    "xla_tpu_enable_async_collective_fusion_multiple_steps": "true",
    "xla_tpu_overlap_compute_collective_tc": "true",
    "xla_enable_async_all_gather": "true",
}
_SCATTERED_LAYOUT = {
    "xla_tpu_use_minor_sharding_for_major_trivial_input": "true",
    "xla_tpu_relayout_group_size_threshold_for_reduce_scatter": "1",
    "xla_tpu_assign_all_reduce_scatter_layout": "true",
}
_BETWEEN_SLICES = {
    "xla_tpu_enable_data_parallel_all_reduce_opt": "true",
    "xla_tpu_data_parallel_opt_different_sized_ops": "true",
}
FLAGS = {
    "v5e": _OVERLAPPED_GATHERS,
    "v5p": _OVERLAPPED_GATHERS,
    "v6e": _OVERLAPPED_GATHERS | _SCATTERED_LAYOUT,
}


@dataclasses.dataclass(frozen=True)
class Slice:
    """Chips that are joined by their own links. name: a key of `KINDS`. topology: chips along each
    axis."""

    name: str
    topology: tuple[int, ...]

    @classmethod
    def of(cls, named: str) -> "Slice":
        """The slice of "v5e:4x4". Raises LaunchError for one that there is not."""
        name, _, sides = named.partition(":")
        if name not in KINDS:
            known = ", ".join(KINDS)
            raise LaunchError(f"--tpu={named}: no TPU {name}{did_you_mean(name, KINDS)} ({known})")
        kind = KINDS[name]
        if not re.fullmatch(r"\d+(x\d+)*", sides) or "0" in sides.split("x"):
            raise LaunchError(f"--tpu={named}: expected chips along each axis, as in {name}:4x4")
        topology = tuple(map(int, sides.split("x")))
        if len(topology) != kind.dimensions:
            raise LaunchError(f"--tpu={named}: a {name} has {kind.dimensions} axes")
        found = cls(name, topology)
        if found.chips > 8 and found.chips % kind.chips_a_host:
            raise LaunchError(f"--tpu={named}: hosts have {kind.chips_a_host} chips each")
        return found

    @property
    def kind(self) -> Kind:
        """What it is a slice of."""
        return KINDS[self.name]

    @property
    def chips(self) -> int:
        """Of all its hosts."""
        return math.prod(self.topology)

    @property
    def hosts(self) -> int:
        """How many machines its chips are in; a process of ours runs on each."""
        return max(1, self.chips // self.kind.chips_a_host)

    @property
    def accelerator_type(self) -> str:
        """As gcloud and xpk name it: "v5litepod-16"."""
        return f"{self.kind.accelerator}-{self.chips * self.kind.per_chip}"

    @property
    def sides(self) -> str:
        """As GKE labels it: "4x4"."""
        return "x".join(map(str, self.topology))

    def flags(self, slices: int) -> str:
        """LIBTPU_INIT_ARGS of each process, of a job of so many such slices."""
        chosen = FLAGS[self.name] | (_BETWEEN_SLICES if slices > 1 else {})
        return " ".join(f"--{name}={value}" for name, value in chosen.items())


_NAME = r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """What is to be started. name: of what is made for it. words: the arguments of vsft, without
    --distributed. image: a container with this program; what needs none leaves it empty. spot: may
    be taken away. restarts: how often it is started again when it fails."""

    name: str
    slice: Slice
    slices: int
    words: tuple[str, ...]
    image: str = ""
    spot: bool = False
    restarts: int = 50

    def __post_init__(self) -> None:
        if not re.fullmatch(_NAME, self.name):
            raise LaunchError(f"--name={self.name}: expected letters a-z, digits and -, at most 40")
        if self.slices < 1:
            raise LaunchError(f"--slices={self.slices}: expected 1 or more")
        workdir = next((w for w in self.words if w.startswith("--workdir=")), "")
        if self.hosts > 1 and "://" not in workdir:
            raise LaunchError(
                f"{self.hosts} hosts share no disk: give --workdir=gs://bucket/folder"
                + (f", not {workdir}" if workdir else "")
            )

    @property
    def hosts(self) -> int:
        """Of all slices."""
        return self.slices * self.slice.hosts

    @property
    def arguments(self) -> tuple[str, ...]:
        """Of vsft, on every host."""
        return (*self.words, "--distributed") if self.hosts > 1 else self.words
