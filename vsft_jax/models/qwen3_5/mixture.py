"""The experts of Qwen3.5's sparse models, and the MLP beside them that every token goes to.

Follows transformers `models/qwen3_5_moe/modeling_qwen3_5_moe.py`.
"""

import jax
from flax import nnx
from jax import Array

from vsft_jax.models.qwen3_5.architecture import TextConfig
from vsft_jax.models.shared.experts import Experts, Load
from vsft_jax.models.shared.layers import Linear, Mlp


class Mixture(Experts):
    """Experts, and a gated MLP whose output each token takes as much of as a gate says."""

    def __init__(self, text: TextConfig, *, param_dtype: str, rngs: nnx.Rngs):
        super().__init__(
            *(text.width, text.mlp_width, text.experts, text.experts_per_token),
            param_dtype=param_dtype,
            rngs=rngs,
        )
        self.shared = mlp(text.width, text.shared_width, param_dtype=param_dtype, rngs=rngs)
        self.shared_gate = Linear(text.width, 1, bias=False, param_dtype=param_dtype, rngs=rngs)

    def __call__(
        self, x: Array, real: Array | None = None, seen: Array | None = None
    ) -> tuple[Array, Load]:
        """See `Experts.__call__`."""
        y, load = super().__call__(x, real, seen)
        return y + jax.nn.sigmoid(self.shared_gate(x)) * self.shared(x), load


def mlp(width: int, mlp_width: int, *, param_dtype: str, rngs: nnx.Rngs) -> Mlp:
    """A gated MLP without biases."""
    return Mlp(
        *(width, mlp_width),
        activation="silu",
        gated=True,
        bias=False,
        param_dtype=param_dtype,
        rngs=rngs,
    )
