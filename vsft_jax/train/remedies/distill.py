"""Learning from the start's answers: pictures' answers stay what the starting model gives."""

import jax
import jax.numpy as jnp
from jax import Array

from vsft_jax.train.loss import LossSums, capped, chunks


def distill_loss(
    kernel: Array,
    hidden: Array,
    start_kernel: Array,
    start_hidden: Array,
    targets: Array,
    weights: Array,
    chunk: int,
    logit_cap: float = 0.0,
) -> LossSums:
    """Sums as `token_loss` gives them, with KL(start ‖ model) of the next token for the loss.

    Of the same positions as the cross-entropy, that is of answers given their right beginnings
    (learning without forgetting, arXiv 1606.09282). Logits of `chunk` positions exist at a time.

    Args:
        kernel, start_kernel: float[D, V], the output matrices.
        hidden, start_hidden: float[B, L, D]. No gradient flows into the start's.
        targets: int[B, L], which only the count of right tokens looks at.
        weights: float32[B, L], 0 where nothing is to be kept.
        chunk: positions at a time, positive. logit_cap: see `VisionLanguageModel.logit_cap`.
    """
    start_hidden, start_kernel = map(jax.lax.stop_gradient, (start_hidden, start_kernel))

    def log_probabilities(hidden: Array, kernel: Array) -> Array:
        logits = jnp.dot(hidden, kernel.astype(hidden.dtype), preferred_element_type=jnp.float32)
        return jax.nn.log_softmax(capped(logits, logit_cap))

    @jax.checkpoint
    def add(total: LossSums, piece: tuple[Array, ...]) -> tuple[LossSums, None]:
        ours, theirs, target, weight = piece
        kept = log_probabilities(theirs, start_kernel)
        found = log_probabilities(ours, kernel)
        divergence = (jnp.exp(kept) * (kept - found)).sum(-1)
        said = jnp.take_along_axis(found, target[..., None], axis=-1, mode="clip")[..., 0]
        right = weight * (said >= found.max(-1))
        sums = LossSums((weight * divergence).sum(), weight.sum(), right.sum())
        return jax.tree.map(jnp.add, total, sums), None

    zero = jnp.zeros((), jnp.float32)
    parts = (hidden, start_hidden, targets, weights.astype(jnp.float32))
    pieces = tuple(chunks(part, chunk) for part in parts)
    return jax.lax.scan(add, LossSums(zero, zero, zero), pieces)[0]
