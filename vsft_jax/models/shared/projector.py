"""The projector of the LLaVA families."""

import jax
from flax import nnx
from jax import Array

from vsft_jax.models.shared.layers import Linear


class Projector(nnx.Module):
    """fc2(gelu(fc1(x))) from the tower's width to the language model's; with `newline`, also the
    learned vector that ends a row of an image."""

    def __init__(self, config, *, newline: bool, rngs: nnx.Rngs):
        width, param_dtype = config.text.width, config.param_dtype
        options = dict(bias=True, param_dtype=param_dtype, rngs=rngs)
        self.fc1 = Linear(config.vision.width, width, **options)
        self.fc2 = Linear(width, width, **options)
        init = nnx.initializers.normal(width**-0.5)
        self.newline = nnx.Param(init(rngs.params(), (width,), param_dtype)) if newline else None

    def __call__(self, x: Array) -> Array:
        """x: float[..., D_vision] -> float[..., D_text]."""
        return self.fc2(jax.nn.gelu(self.fc1(x), approximate=False))
