"""Embeddings as they are looked up on TPU, by columns, against one device."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec

from vsft_jax.models.shared import decoder
from vsft_jax.sharding import make_mesh

# 12 rows divide by every data × fsdp below but for the last, which looks up as one device does.
_MESHES = (
    dict(data=2, fsdp=2, tensor=2),
    dict(data=1, fsdp=4, tensor=1, context=2),
    dict(data=2, fsdp=2, context=2, tensor=1),
    dict(data=1, fsdp=8, tensor=1),
)


_SIZES = (22, 16)  # vocabulary and width


@pytest.mark.parametrize("shape", _MESHES)
def test_tables_in_columns_give_one_devices_vectors_and_gradient(monkeypatch, shape):
    embed = decoder.Embedding(*_SIZES, dtype="float32", param_dtype="float32", rngs=nnx.Rngs(0))
    graphdef, params = nnx.split(embed)
    rng = np.random.default_rng(1)
    tokens = rng.integers(0, 22, (12, 6)).astype(np.int32)
    weights = rng.standard_normal((12, 6, 16)).astype(np.float32)

    def loss(params, tokens):
        found = nnx.merge(graphdef, params)(tokens)
        return (found * weights).sum(), found

    expected = jax.grad(loss, has_aux=True)(params, tokens)
    monkeypatch.setattr(decoder, "platform", lambda: "tpu")
    mesh = make_mesh(shape)
    placed = NamedSharding(mesh, PartitionSpec("tensor", "fsdp"))
    gradient = jax.jit(jax.grad(loss, has_aux=True), out_shardings=(placed, None))
    with jax.set_mesh(mesh):
        there = jax.device_put(params, placed)
        found = gradient(there, jnp.asarray(tokens))
        by_columns = "all_to_all" in gradient.lower(there, tokens).as_text()
    np.testing.assert_array_equal(found[1], expected[1])
    (to_table,), (expected_table,) = map(jax.tree.leaves, (found[0], expected[0]))
    np.testing.assert_allclose(to_table, expected_table, atol=1e-5)
    assert by_columns == (12 % (shape["data"] * shape["fsdp"]) == 0)
