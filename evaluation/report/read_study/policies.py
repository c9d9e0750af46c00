"""Frame policies as the report sees them: what they are, from their specs alone."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from input_pipeline.frame_budget import CONTROLS, canonical_spec, spec_hash, spec_label


@dataclasses.dataclass(frozen=True)
class FramePolicy:
    """A resolved frame-budget spec, equal and of one `key` for every spelling of one policy."""

    key: str
    spec: Mapping[str, Any] = dataclasses.field(compare=False)

    @classmethod
    def of(cls, spec: Mapping[str, Any]) -> "FramePolicy":
        """Raises ValueError for what is no frame-budget spec."""
        return cls(spec_hash(spec), canonical_spec(spec))

    @property
    def label(self) -> str:
        """A name, for print only; `Study.label` tells apart policies that share one."""
        return spec_label(self.spec)

    @property
    def is_fixed(self) -> bool:
        """Whether every video gets the same number of frames."""
        return self.spec["kind"] == "fixed"

    @property
    def is_control(self) -> bool:
        """Whether it gives another policy's budgets to other examples."""
        return self.spec["kind"] in CONTROLS

    def is_control_of(self, other: "FramePolicy") -> bool:
        """Whether the budgets that it gives to other clips are those of `other`."""
        of = self.spec["of"] if self.is_control else None
        return of is not None and spec_hash(of) == other.key

    @property
    def order(self) -> tuple[int, float, str]:
        """Sort key: fixed counts by their number, the hybrid rule and others, then controls."""
        if self.is_fixed:
            return 0, float(self.spec["frames"]), self.label
        return 1 + self.is_control, float(self.spec["kind"] != "hybrid"), self.label
