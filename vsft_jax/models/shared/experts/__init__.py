"""Experts in place of an MLP, of which a router takes a few for each token; none is ever full.

In: hidden states. Out: hidden states, and how the tokens were spread, for the loss that keeps the
experts busy alike and for the log.
"""

from vsft_jax.models.shared.experts.balance import Balance, balance
from vsft_jax.models.shared.experts.layer import Experts, Load

__all__ = ["Balance", "Experts", "Load", "balance"]
