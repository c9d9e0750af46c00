"""What the plan job finds out."""

import dataclasses
from typing import Any

from vsft_jax.plan.estimate import Cost
from vsft_jax.plan.flops import ModelFlops


@dataclasses.dataclass(frozen=True)
class Plan:
    """What one training step takes. Bytes and seconds are those of one device.

    rows_per_device: packed rows of a microbatch; batch_rows: of a step, over all devices.
    memory: part -> bytes; needed: their sum; available: the device's memory as the compiler counts
    it. Where the step does not fit, only these two are known, and needed may be a lower bound.
    cost: the static estimate of one step; seconds: its length. mfu: model operations a second over
    the chips' peak. largest_rows: rows a device and microbatch that fit at most, where searched.
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
    fits: bool
    needed: float
    available: float
    compile_seconds: float
    versions: dict[str, str]
    memory: dict[str, float] = dataclasses.field(default_factory=dict)
    cost: Cost = dataclasses.field(default_factory=Cost)
    model_flops: ModelFlops = ModelFlops(0.0, 0.0)
    mfu: float = 0.0
    largest_rows: int | None = None

    @property
    def seconds(self) -> float:
        return self.cost.seconds

    def to_json(self) -> dict[str, Any]:
        """JSON values; figures are static estimates."""
        values = dataclasses.asdict(self)
        values["cost"]["collectives"] = {
            kind: dict(zip(("count", "bytes", "seconds"), numbers, strict=True))
            for kind, numbers in self.cost.collectives.items()
        }
        values["cost"]["pallas"] = {
            name: dict(zip(("count", "seconds"), numbers, strict=True))
            for name, numbers in self.cost.pallas.items()
        }
        return values | {"model_flops": self.model_flops._asdict()}
