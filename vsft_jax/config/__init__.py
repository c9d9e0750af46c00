"""What a config means.

In: a config of configs/ with its overrides, and a workdir. Out: a `Run`, which every job is given,
with the objects and paths that follow from the two.
"""

from vsft_jax.config.base import as_json
from vsft_jax.config.run import Run

__all__ = ["Run", "as_json"]
