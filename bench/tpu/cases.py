"""The steps that are planned: hybrid frame budgets and text alone, on two pods."""

import dataclasses
from pathlib import Path
from typing import Any

from configs import qwen2_5_vl
from vsft_jax.config import Run

# A step of the language model alone: no gradient for tower and projector, and hardly a patch.
_TEXT = {
    "layout.row_patches": 4,
    "optimizer.learning_rate.tower": 0.0,
    "optimizer.learning_rate.projector": 0.0,
}


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """what: in words. topology: see `config.plan`. overrides: of the config, by key."""

    what: str
    topology: str
    overrides: dict[str, Any]

    def run(self) -> Run:
        """The run of Qwen2.5-VL-7B that is planned."""
        config = qwen2_5_vl.get_config("size=7b")
        config.update_from_flattened_dict(
            {"plan.topology": self.topology, "layout.row_patches": 31_744, **self.overrides}
        )
        return Run(config.lock(), Path())


_V5P = {"mesh.data": 4, "model.remat": "mlp"}
_V5E = {"mesh.data": 8}
CASES = (
    Case("hybrid budgets", "v5p:4x4x4", _V5P),
    Case("text alone", "v5p:4x4x4", _V5P | _TEXT),
    Case("hybrid budgets", "v5e:16x16", _V5E),
    Case("text alone", "v5e:16x16", _V5E | _TEXT),
)
