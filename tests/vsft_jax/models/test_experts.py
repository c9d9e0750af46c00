"""Experts: products of groups, and the layer on meshes, against plain loops and one device."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from vsft_jax.models.shared.experts import Experts, balance
from vsft_jax.models.shared.experts.grouped import grouped_product
from vsft_jax.models.shared.experts.tiles import by_tiles
from vsft_jax.models.shared.partition import partition_rules
from vsft_jax.parameters import flatten
from vsft_jax.sharding import field_sharding, make_mesh, shardings

SIZES = np.array([3, 0, 130, 1, 70], np.int32)  # of groups; 96 rows behind them belong to none


@pytest.mark.parametrize(
    "product", [grouped_product, functools.partial(by_tiles, interpret=True)], ids=["plain", "tpu"]
)
def test_products_of_groups_and_their_gradients(product):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 12)).astype(np.float32)
    kernels = rng.normal(size=(5, 12, 20)).astype(np.float32)
    weights = rng.normal(size=(300, 20)).astype(np.float32)
    group = np.repeat([0, 1, 2, 3, 4, 5], [*SIZES, 300 - SIZES.sum()])

    def total(x, kernels):
        y = product(x, kernels, jnp.asarray(SIZES))
        return (y * weights).sum(), y

    (to_x, to_kernels), found = jax.jit(jax.grad(total, (0, 1), has_aux=True))(x, kernels)
    theirs = np.append(kernels, np.zeros_like(kernels[:1]), axis=0)[group]
    np.testing.assert_allclose(found, np.einsum("md,mdf->mf", x, theirs), atol=1e-5)
    np.testing.assert_allclose(to_x, np.einsum("mf,mdf->md", weights, theirs), atol=1e-5)
    expected = [x[group == e].T @ weights[group == e] for e in range(5)]
    np.testing.assert_allclose(to_kernels, expected, atol=1e-4)


B, L, D, F, CHOSEN = 4, 10, 16, 24, 3


@functools.cache
def _layer(experts):
    """A layer's graphdef and parameters by the paths that partition rules know, rows, and which
    of their tokens are real."""
    layer = Experts(D, F, experts, CHOSEN, param_dtype="float32", rngs=nnx.Rngs(0))
    rng = np.random.default_rng(0)
    x = rng.normal(size=(B, L, D)).astype(np.float32)
    real = np.arange(L) < np.array([10, 7, 0, 4])[:, None]
    return *nnx.split(layer), x, real


def _compiled(graphdef, *arrays):
    """Output, load, the balance's loss, and gradients of all parameters and of x."""

    def total(params, x, real):
        y, load = nnx.merge(graphdef, params)(x, real)
        even = balance(jax.tree.map(lambda each: each[None], load), CHOSEN)
        weights = jnp.cos(jnp.arange(y.size)).reshape(y.shape)
        return (y * weights).sum() + even.loss, (y, load, even)

    gradient = jax.grad(total, (0, 1), has_aux=True)
    return jax.jit(gradient)(*arrays)


@functools.cache
def _alone(experts):
    graphdef, *arrays = _layer(experts)
    return _compiled(graphdef, *arrays)


def test_the_layer_is_a_loop_over_tokens():
    graphdef, params, x, real = _layer(8)
    _, (found, load, _) = _alone(8)
    layer, counts = nnx.merge(graphdef, params), np.zeros((B, 8))
    router = np.asarray(layer.router.kernel[...])
    gate, up, down = (
        np.asarray(getattr(layer.experts, name).kernel[...]) for name in ("gate", "up", "down")
    )
    expected = np.zeros((B, L, D))
    for row, place in zip(*np.nonzero(real), strict=True):
        token = x[row, place]
        chances = np.exp(token @ router)
        chosen = np.argsort(-chances)[:CHOSEN]
        for e in chosen:
            inner = token @ gate[e]
            y = (inner / (1 + np.exp(-inner)) * (token @ up[e])) @ down[e]
            expected[row, place] += chances[e] / chances[chosen].sum() * y
            counts[row, e] += 1
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_array_equal(load.counts, counts)


# The number of experts divides by tensor and fsdp; by tensor alone; by neither.
@pytest.mark.parametrize("experts", [8, 6, 5])
@pytest.mark.parametrize(
    "shape",
    [
        dict(data=1, context=2, fsdp=2, tensor=2),
        dict(data=2, fsdp=4, tensor=1),
        dict(data=1, fsdp=1, tensor=8),
        dict(data=1, fsdp=8, tensor=1),  # which does not divide the rows either
    ],
    ids=str,
)
def test_on_a_mesh_it_is_what_one_device_computes(experts, shape):
    graphdef, params, x, real = _layer(experts)
    mesh = make_mesh(shape)
    rules = [
        (name, axes[1:])
        for name in flatten(params)
        for path, axes in partition_rules()
        if re.fullmatch(path, f"llm/layers/mlp/{name}")
    ]
    with jax.set_mesh(mesh):
        placed = jax.device_put(params, shardings(params, rules, mesh))
        rows = [
            jax.device_put(each, field_sharding(mesh, each.shape))
            if B % (mesh.shape["data"] * mesh.shape["fsdp"]) == 0
            else each
            for each in (x, real)
        ]
        found = _compiled(graphdef, placed, *rows)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), found, _alone(experts))
