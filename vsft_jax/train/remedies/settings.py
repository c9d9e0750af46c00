"""`config.remedy` as a value."""

import dataclasses

from ml_collections import ConfigDict


@dataclasses.dataclass(frozen=True)
class Remedies:
    """Which remedies a step applies; see configs/default.py for what each number is."""

    project: bool = False
    l2: float = 0.0
    ewc: float = 0.0
    distill: float = 0.0

    @classmethod
    def of(cls, config: ConfigDict) -> "Remedies":
        """What the config's section `remedy` says about training."""
        chosen = config.remedy
        return cls(chosen.project, chosen.l2, chosen.ewc, chosen.distill)

    @property
    def keeps_start(self) -> bool:
        """Whether a step needs the parameters that training started from."""
        return self.l2 > 0 or self.ewc > 0 or self.distill > 0
