"""Raw pixels to patch vectors, for every tower."""

from typing import Protocol

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

# OpenAI CLIP's pixel statistics, as in many models' preprocessor_config.json.
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)

# A round number near the mean pixel. Pixels minus this are small whole numbers, which bfloat16
# holds exactly, while normalised pixels would be rounded.
_PIXEL_CENTRE = 128


class PatchNumbers(Protocol):
    """The numbers of a tower's config that make its patches into vectors.

    image_mean, image_std: by which pixels in 0 … 1 are normalised, a number a channel.
    """

    @property
    def width(self) -> int: ...

    @property
    def image_mean(self) -> tuple[float, float, float]: ...

    @property
    def image_std(self) -> tuple[float, float, float]: ...

    @property
    def patch_columns(self) -> int:
        """Values of a patch, a third of them for each channel."""
        ...


class PatchEmbed(nnx.Module):
    """Normalises raw pixels and projects each patch: a convolution as one matrix product."""

    def __init__(
        self,
        tower: PatchNumbers,
        *,
        bias: bool,
        dtype: str,
        param_dtype: str,
        rngs: nnx.Rngs,
    ):
        shape = (tower.patch_columns, tower.width)
        self.kernel = nnx.Param(nnx.initializers.lecun_normal()(rngs.params(), shape, param_dtype))
        self.bias = nnx.Param(jnp.zeros(shape[1:], param_dtype)) if bias else None
        self.image_mean, self.image_std = tower.image_mean, tower.image_std
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
