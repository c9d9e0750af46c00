"""What a training step takes on TPUs, with none at hand.

In: a `Run`. Out: `plan(run)`, a `Plan`: memory, time and collectives by the compiler's account.
"""

from vsft_jax.plan.compile import plan
from vsft_jax.plan.result import Plan

__all__ = ["Plan", "plan"]
