"""The experts of Gemma 4 26B-A4B, which work beside each layer's MLP.

Follows transformers `models/gemma4/modeling_gemma4.py`.
"""

import jax.numpy as jnp
from flax import nnx
from jax import Array

from vsft_jax.models.gemma4.architecture import TextConfig
from vsft_jax.models.gemma4.layers import normalise
from vsft_jax.models.shared.experts import Experts


class Mixture(Experts):
    """Experts whose router looks at the stream itself, normalised, and weighs each of them.

    scale: float[D], of what the router looks at; weights: float[E], factors on experts' outputs.
    """

    def __init__(self, text: TextConfig, *, param_dtype: str, rngs: nnx.Rngs):
        super().__init__(
            *(text.width, text.expert_width, text.experts, text.experts_per_token),
            activation="gelu_tanh",
            param_dtype=param_dtype,
            rngs=rngs,
        )
        self.scale = nnx.Param(jnp.ones((text.width,), param_dtype))
        self.weights = nnx.Param(jnp.ones((text.experts,), param_dtype))
        self.eps = text.norm_eps

    def chances(self, seen: Array) -> Array:
        """See `Experts.chances`. seen: the stream."""
        seen = normalise(seen, self.eps) * self.scale[...].astype(seen.dtype)
        return super().chances(seen * jnp.asarray(seen.shape[-1] ** -0.5, seen.dtype))

    def weighed(self, weights: Array, chosen: Array) -> Array:
        """See `Experts.weighed`."""
        factors = jnp.take(self.weights[...].astype(jnp.float32), chosen, axis=0, mode="clip")
        return super().weighed(weights, chosen) * factors
