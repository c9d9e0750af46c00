"""What the plan job finds out."""

import dataclasses
from typing import Any

from vsft_jax.plan.flops import ModelFlops
from vsft_jax.plan.program import Cost
from vsft_jax.plan.rows import PackedRows


@dataclasses.dataclass(frozen=True)
class Plan:
    """What one training step takes. Bytes and seconds are those of one device.

    rows_per_device: packed rows of a microbatch; batch_rows: of a step, over all devices.
    memory: part -> bytes; needed: their sum; available: the device's memory as the compiler counts
    it. Where the compiler gives up on a step, only these two are known, and needed may be a lower
    bound. code_generated: whether code was generated, for every kernel.
    cost, roofline: static estimates of one step at two prices, by the compiler's cycles and by what
    memory and matrix units allow. peak: of all devices, operations a second. model_flops: of full
    rows; useful_flops: of the corpus's rows, padding counted as nothing; rows: what these are like.
    Both are None where the corpus has nothing for such rows, and then every block of attention is
    taken to be visited.
    """

    topology: str
    chip: str
    devices: int
    mesh: dict[str, int]
    rows_per_device: int
    batch_rows: int
    accumulate: int
    row_tokens: int
    row_patches: int
    available: float
    versions: dict[str, str]
    fits: bool = False
    needed: float = 0.0
    code_generated: bool = False
    compile_seconds: float = 0.0
    memory: dict[str, float] = dataclasses.field(default_factory=dict)
    cost: Cost = dataclasses.field(default_factory=Cost)
    roofline: Cost = dataclasses.field(default_factory=Cost)
    peak: float = 0.0
    model_flops: ModelFlops = ModelFlops(0.0, 0.0)
    rows: PackedRows | None = None
    useful_flops: ModelFlops | None = None

    @property
    def mfu(self) -> tuple[float, float]:
        """Model operations a second over the peak, at the compiler's price and at the roofline."""
        return self.utilisation(sum(self.model_flops))

    @property
    def useful_mfu(self) -> tuple[float, float]:
        """As `mfu`, of what the corpus's examples need: padding is waste, and the tower's attention
        of use."""
        return self.utilisation(sum(self.useful_flops or ()))

    def utilisation(self, flops: float) -> tuple[float, float]:
        """Operations of a step, a second, over the peak: at both prices; 0 where there is none."""
        low, high = (
            flops / (self.peak * cost.seconds) if cost.seconds else 0.0
            for cost in (self.cost, self.roofline)
        )
        return low, high

    def to_json(self) -> dict[str, Any]:
        """JSON values; figures are static estimates."""
        values = dataclasses.asdict(self)
        for name in ("cost", "roofline"):
            table = values[name]
            for part, heads in (
                ("collectives", ("count", "bytes", "seconds")),
                ("pallas", ("count", "seconds")),
            ):
                table[part] = {
                    kind: dict(zip(heads, numbers, strict=True))
                    for kind, numbers in table[part].items()
                }
        prices = ("compiler", "roofline")
        shares = {
            "mfu": dict(zip(prices, self.mfu, strict=True)),
            "useful_mfu": dict(zip(prices, self.useful_mfu, strict=True)),
        }
        for name in ("model_flops", "useful_flops"):
            flops: ModelFlops | None = getattr(self, name)
            values[name] = flops and flops._asdict()
        if self.rows:
            values["rows"]["visits"] = self.rows.visits._asdict()
        return values | shares
