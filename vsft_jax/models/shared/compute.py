"""How a model computes, the same for every family."""

import dataclasses

from vsft_jax.models.shared import attention, stacks


def check(holds: bool, message: str) -> None:
    """Raises ValueError(message) unless `holds`."""
    if not holds:
        raise ValueError(message)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Compute:
    """Base of every family's ModelConfig.

    dtype: of activations and matrix products; param_dtype: of the stored parameters.
    remat: what the backward pass keeps of each layer, one of `stacks.REMAT`.
    attention: implementation, one of `attention.IMPLEMENTATIONS`.
    """

    dtype: str = "bfloat16"
    param_dtype: str = "float32"
    remat: str = "full"
    attention: str = "xla"

    def __post_init__(self):
        check(
            self.remat in stacks.REMAT,
            f"remat {self.remat!r} is unknown; use one of {tuple(stacks.REMAT)}",
        )
        check(
            self.attention in attention.IMPLEMENTATIONS,
            f"attention {self.attention!r} is unknown; use one of {attention.IMPLEMENTATIONS}",
        )
