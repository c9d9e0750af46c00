"""Products of groups of rows with a matrix of each group's own: how experts compute."""

import jax
from jax import Array

from vsft_jax.sharding import platform


def grouped_product(x: Array, kernels: Array, sizes: Array) -> Array:
    """Each row times the matrix of its group.

    On TPU by Pallas kernels (megablox, of the JAX repository): as libtpu 0.0.42 compiles
    `ragged_dot`, the gradient of the matrices multiplies every row with every group.

    Args:
        x: float[m, D], the rows of the first group, then those of the second, and so on.
        kernels: float[E, D, F].
        sizes: int32[E], rows of each group.

    Returns:
        float[m, F] in x's dtype; 0 for rows behind those of all groups.
    """
    if platform() == "tpu":
        # Imported here, since only a TPU needs the kernels.
        from vsft_jax.models.shared.experts.tiles import by_tiles

        return by_tiles(x, kernels, sizes, interpret=False)
    return jax.lax.ragged_dot(x, kernels, sizes)
