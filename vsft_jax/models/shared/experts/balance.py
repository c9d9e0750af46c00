"""How evenly experts are used: a loss, and a number for the log."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from vsft_jax.models.shared.experts.layer import Load


class Balance(NamedTuple):
    """Over the real tokens of a batch and all layers, float32[] each.

    loss: E times the sum over experts of the share of tokens that got there, which is not
    differentiated, times the router's mean probability (Switch Transformer, arXiv 2101.03961, (4)
    to (6)). A token counts at each of the k experts that it goes to: k where all are used alike.
    busiest: tokens of the busiest expert of a layer over the mean of all, the mean over layers.
    """

    loss: Array
    busiest: Array


def balance(load: Load, chosen: int) -> Balance:
    """As transformers' `load_balancing_loss_func`.

    load: of a stack, float32[layers, B, E]. chosen: experts that each token goes to.
    """
    experts = load.counts.shape[-1]
    counts = load.counts.sum(1)
    tokens = jnp.maximum(counts.sum() / chosen, 1)  # once for each layer
    shares, chances = counts.sum(0) / tokens, load.chances.sum((0, 1)) / tokens
    of_layer = jnp.maximum(counts.mean(1), 1 / experts)
    return Balance(experts * (shares * chances).sum(), (counts.max(1) / of_layer).mean())
