"""Raw pixels to patch vectors, for every tower."""

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

# A round number near the mean pixel. Pixels minus this are small whole numbers, which bfloat16
# holds exactly, while normalised pixels would be rounded.
_PIXEL_CENTRE = 128


class PatchEmbed(nnx.Module):
    """Normalises raw pixels and projects each patch: a convolution as one matrix product."""

    def __init__(
        self,
        columns: int,
        width: int,
        *,
        image_mean: tuple[float, float, float],
        image_std: tuple[float, float, float],
        bias: bool,
        dtype: str,
        param_dtype: str,
        rngs: nnx.Rngs,
    ):
        """columns: values of a patch, a third of them for each channel."""
        init = nnx.initializers.lecun_normal()
        self.kernel = nnx.Param(init(rngs.params(), (columns, width), param_dtype))
        self.bias = nnx.Param(jnp.zeros((width,), param_dtype)) if bias else None
        self.image_mean, self.image_std = image_mean, image_std
        self.dtype = dtype

    def __call__(self, patches: Array) -> Array:
        """patches: uint8[B, N, C], columns (channel, …, row, column) -> float[B, N, D].

        ((x / 255 - mean) / std) @ W is computed as (x - 128) @ (scale · W) + shift @ W, so that
        the pixels need one conversion and no arithmetic in the wide [B, N, C] array.
        """
        std, mean = np.array(self.image_std), np.array(self.image_mean)
        repeats = patches.shape[-1] // 3
        scale = np.repeat(1 / (255 * std), repeats).astype(np.float32)
        shift = np.repeat((_PIXEL_CENTRE / 255 - mean) / std, repeats).astype(np.float32)

        kernel = self.kernel[...].astype(jnp.float32)
        product = jnp.dot(
            patches.astype(self.dtype) - _PIXEL_CENTRE,
            (scale[:, None] * kernel).astype(self.dtype),
            preferred_element_type=jnp.float32,
        )
        product = product + shift @ kernel
        product = product if self.bias is None else product + self.bias[...].astype(jnp.float32)
        return product.astype(self.dtype)
