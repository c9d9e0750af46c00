"""Whether clips pull against pictures, measured on the model that fine-tuning starts from.

Of arXiv 2603.17541, as far as its theory is known: for the gradients g_img of the loss on pictures
and g_vid of that on clips with m frames,

* the cosine of the two, over everything that trains and by part of the model, against m, and the m*
  at which it changes sign;
* the second moment of the clips' gradient, E‖g_vid‖², against m;
* proposition 1: where ⟨g_img, g_vid⟩ < 0 a step −η g_vid raises the loss on pictures for
  0 < η < −2 ⟨g_img, g_vid⟩ / (β ‖g_vid‖²), β bounding the curvature of that loss. β is estimated at
  the start by power iteration, and the loss is really measured after such steps.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from vsft_jax.parameters import flatten
from vsft_jax.train.remedies.projection import inner

Tree = TypeVar("Tree")
STEPS = (0.25, 0.5, 1.0, 2.0)  # of the bound, at which losses are measured


@dataclasses.dataclass(frozen=True)
class Gradient:
    """Over several batches: the mean gradient, and the mean of the batches' squared norms."""

    mean: Any
    second_moment: float
    batches: int

    @property
    def noise(self) -> float:
        """Unbiased estimate of the share of the second moment that is scatter, 0..1."""
        if self.batches < 2 or not self.second_moment:
            return math.nan
        scatter = (self.second_moment - float(inner(self.mean, self.mean))) * self.batches
        return min(scatter / (self.batches - 1) / self.second_moment, 1.0)


@dataclasses.dataclass(frozen=True)
class Steps:
    """Proposition 1 at one frame count. product: ⟨g_img, g_vid⟩. curvature: the estimate of β.
    bound: the largest η of the proposition; None where clips do not pull against pictures. changes:
    (η, change of the loss on pictures, change on clips), as measured."""

    product: float
    curvature: float
    bound: float | None
    changes: Sequence[tuple[float, float, float]]


def gradient_of(each: Callable[[Any], Any], batches: Sequence[Any]) -> Gradient:
    """each: batch → its gradient. Raises ValueError without batches."""
    if not batches:
        raise ValueError("a gradient needs batches")
    total, squares = None, 0.0
    for batch in batches:
        found = each(batch)
        squares += float(inner(found, found))
        total = found if total is None else jax.tree.map(jnp.add, total, found)
    count = len(batches)
    return Gradient(jax.tree.map(lambda x: x / count, total), squares / count, count)


def cosines(one: Tree, other: Tree, parts: Mapping[str, Callable[[str], bool]]) -> dict[str, float]:
    """The cosine over everything, under "all", and over the parameters that each part chooses by
    path; nan where a part has no gradient."""
    a, b = flatten(one), flatten(other)
    chosen = {"all": list(a)} | {
        name: [path for path in a if takes(path)] for name, takes in parts.items()
    }
    return {
        name: _cosine([a[path] for path in paths], [b[path] for path in paths])
        for name, paths in chosen.items()
    }


def _cosine(a: Sequence[Any], b: Sequence[Any]) -> float:
    norms = float(inner(a, a)) * float(inner(b, b))
    return float(inner(a, b)) / math.sqrt(norms) if norms > 0 else math.nan


def change_of_sign(by_count: Mapping[int, float]) -> float | None:
    """The number of frames at which a value that is above zero with few falls below it, between the
    counts on a doubling scale; None where it does not. An estimate of m*."""
    counts = sorted(by_count)
    for few, many in zip(counts, counts[1:], strict=False):
        high, low = by_count[few], by_count[many]
        if high > 0 >= low:
            share = high / (high - low)
            return float(few * (many / few) ** share)
    return None


def curvature(
    gradient: Callable[[Tree], Tree], at: Tree, *, iterations: int = 20, seed: int = 0
) -> float:
    """The largest absolute eigenvalue of a loss's Hessian, by power iteration.

    gradient: parameters → the loss's gradient there. Products with the Hessian are central
    differences of it, so that attention kernels need no second derivative; a step is 1e-3 of the
    parameters' norm along the vector.
    """
    keys = jax.random.split(jax.random.key(seed), len(jax.tree.leaves(at)))
    leaves, structure = jax.tree.flatten(at)
    drawn = [jax.random.normal(k, x.shape, x.dtype) for k, x in zip(keys, leaves, strict=True)]
    vector = _unit(jax.tree.unflatten(structure, drawn))
    step = 1e-3 * math.sqrt(max(float(inner(at, at)), 1e-12))
    value = 0.0
    for _ in range(iterations):
        ahead, behind = (gradient(_moved(at, vector, sign * step)) for sign in (1.0, -1.0))
        product = jax.tree.map(lambda a, b: (a - b) / (2 * step), ahead, behind)
        value = math.sqrt(float(inner(product, product)))
        if value == 0.0:
            break
        vector = _unit(product)
    return value


def steps_of(
    image: Tree, video: Tree, at: Tree, beta: float, losses: Callable[[Tree], tuple[float, float]]
) -> Steps:
    """The bound of proposition 1, and the losses after steps of `STEPS` times it along −video.

    image, video: gradients. at: parameters. beta: of `curvature`. losses: parameters → the losses
    on pictures and on clips. Where clips do not pull against pictures nothing is promised, and
    steps of the same size are measured.
    """
    product, norm = float(inner(image, video)), float(inner(video, video))
    reach = 2 * abs(product) / max(beta * norm, 1e-30)
    before = losses(at)
    changes = []
    for share in STEPS:
        after = losses(_moved(at, video, -share * reach))
        changes.append((share * reach, after[0] - before[0], after[1] - before[1]))
    return Steps(product, beta, reach if product < 0 else None, changes)


def _moved(at: Tree, along: Tree, by: float) -> Tree:
    return jax.tree.map(lambda x, v: x + by * v, at, along)


def _unit(tree: Tree) -> Tree:
    norm = math.sqrt(float(inner(tree, tree)))
    return jax.tree.map(lambda x: x / np.float32(norm), tree)
