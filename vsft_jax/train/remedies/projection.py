"""Gradient surgery that protects pictures: PCGrad (arXiv 2001.06782), one-sided."""

from typing import TypeVar

import jax
import jax.numpy as jnp

Tree = TypeVar("Tree")


def inner(a: Tree, b: Tree) -> jax.Array:
    """float32[], the inner product of two trees of arrays."""
    products = jax.tree.map(lambda x, y: jnp.vdot(x, y, precision="highest"), a, b)
    return jnp.asarray(sum(jax.tree.leaves(products)), jnp.float32)


def one_sided(clips: Tree, pictures: Tree) -> Tree:
    """The clips' gradient without its part against the pictures' gradient.

    g = g_clips − min(0, ⟨g_clips, g_pictures⟩ / ‖g_pictures‖²) g_pictures, so that ⟨g, g_pictures⟩
    >= 0: to first order a step along −g does not raise the loss on pictures. PCGrad projects each
    task's gradient; here only the clips' yields, and what already agrees stays as it is. Without
    pictures in the step there is nothing to protect.
    """
    along = inner(clips, pictures)
    scale = jnp.minimum(along, 0.0) / jnp.maximum(inner(pictures, pictures), 1e-30)
    return jax.tree.map(lambda c, p: c - scale.astype(c.dtype) * p, clips, pictures)
