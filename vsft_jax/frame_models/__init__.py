"""The models that frame policies ask for: an encoder for "similarity", our families as judges.

In: a `Run`. Out: `tools(run)`, what `input_pipeline.frame_budget.make_policy` needs beside a spec.
"""

from vsft_jax.frame_models.tools import tools

__all__ = ["tools"]
