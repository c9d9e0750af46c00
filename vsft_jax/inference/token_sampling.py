"""How the next token is chosen from the model's logits."""

import dataclasses

import jax
import jax.numpy as jnp
from jax import Array


@dataclasses.dataclass(frozen=True)
class Sampling:
    """Temperature, then top-k, then top-p, in the order of transformers' `generate`.

    temperature: logits are divided by it before a token is drawn; 0 takes the most likely token.
    top_p: draw among the fewest most likely tokens that together have at least this probability
        (arXiv 1904.09751); 1 for all.
    top_k: draw among this many most likely tokens; 0 for all. Tokens as likely as the last one
        that top_k or top_p takes in are taken in with it.

    Raises:
        ValueError: a value out of its range, or without effect because the temperature is 0.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0

    def __post_init__(self) -> None:
        if self.temperature < 0:
            raise ValueError(f"temperature = {self.temperature} must not be negative")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p = {self.top_p} must be above 0 and at most 1")
        if self.top_k < 0:
            raise ValueError(f"top_k = {self.top_k} must not be negative (0 switches it off)")
        if self.temperature == 0 and (self.top_p < 1 or self.top_k):
            raise ValueError(
                f"top_p = {self.top_p} and top_k = {self.top_k} have no effect with temperature = "
                "0, which takes the most likely token: set a temperature"
            )


GREEDY = Sampling()


def narrow(logits: Array, sampling: Sampling) -> Array:
    """logits: float32[B, V] -> the same divided by the temperature (above 0), -inf where a token
    is not to be drawn."""
    logits = logits / sampling.temperature
    if not sampling.top_k and sampling.top_p == 1:
        return logits
    best = jax.lax.top_k(logits, min(sampling.top_k or logits.shape[-1], logits.shape[-1]))[0]
    if sampling.top_p < 1:
        probabilities = jax.nn.softmax(best)
        # A token is in where those before it do not reach top_p yet; so the first always is.
        before = jnp.cumsum(probabilities, axis=-1) - probabilities
        best = jnp.where(before < sampling.top_p, best, jnp.inf)
    lowest = best.min(axis=-1, keepdims=True)
    return jnp.where(logits >= lowest, logits, -jnp.inf)


def draw(logits: Array, sampling: Sampling, keys: Array) -> Array:
    """One token a row from the narrowed distribution, by the Gumbel-max trick.

    Args:
        logits: float32[B, V]; -inf for what must not be drawn.
        sampling: with a temperature above 0.
        keys: key[B]; a row's draw depends on its logits and its key alone.

    Returns:
        int32[B].
    """
    noise = jax.vmap(lambda key: jax.random.gumbel(key, logits.shape[-1:], jnp.float32))(keys)
    return (narrow(logits, sampling) + noise).argmax(axis=-1).astype(jnp.int32)


def row_keys(seed: Array, rows: Array, step: Array) -> Array:
    """Keys of one step: seed uint32[], rows uint32[B] (each row's own number), step int32[] ->
    key[B]."""
    base = jax.random.key(seed)
    return jax.vmap(lambda row: jax.random.fold_in(jax.random.fold_in(base, row), step))(rows)
