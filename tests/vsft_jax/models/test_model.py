"""A tiny Qwen2.5-VL: its parts, its config, and what it computes."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from vsft_jax.models.qwen2_5_vl import FAMILY
from vsft_jax.models.qwen2_5_vl.config import (
    ModelConfig,
    TextConfig,
    VisionConfig,
    from_hf,
)
from vsft_jax.models.qwen2_5_vl.model import Qwen2_5VL
from vsft_jax.models.shared.partition import component_of, partition_rules

TINY = ModelConfig(
    VisionConfig(depth=3, width=16, mlp_width=16, heads=2, fullatt_block_indexes=(2,)),
    TextConfig(2, 32, 48, 4, 2, 48, head_dim=8, mrope_section=(2, 1, 1)),
    dtype="float32",
    remat="none",
)


def _parameters(config):
    """Path -> shape of every parameter, from an abstract evaluation."""
    state = jax.eval_shape(lambda: nnx.split(Qwen2_5VL(config, rngs=nnx.Rngs(0)))[1])
    return {"/".join(map(str, path)): leaf.shape for path, leaf in nnx.to_flat_state(state)}


def _arrays(config, rows=4, length=24, patches=32, seed=0):
    """Rows of one example: 4 words, as many visual tokens as fit the patches, words, padding."""
    rng = np.random.default_rng(seed)
    merged = patches // 4
    columns = np.arange(length)
    visual = np.where((columns >= 4) & (columns < 4 + merged), columns - 4, -1)
    arrays = {
        "tokens": rng.integers(0, config.text.vocab_size, (rows, length)),
        "positions": np.broadcast_to(columns[:, None], (rows, length, 3)),
        "segment_ids": np.broadcast_to(columns < length - 3, (rows, length)),
        "visual_index": np.broadcast_to(visual[:, None], (rows, length, 1)),
        "patch_coords": rng.integers(0, 8, (rows, patches, 2)),
        "patch_frames": np.broadcast_to(1 + np.arange(patches) // 16, (rows, patches)),
        "patch_windows": np.broadcast_to(1 + np.arange(patches) // 8, (rows, patches)),
    }
    arrays = {name: jnp.asarray(value, jnp.int32) for name, value in arrays.items()}
    pixels = rng.integers(0, 256, (rows, patches, config.vision.patch_columns), dtype=np.uint8)
    return {**arrays, "patches": jnp.asarray(pixels)}


def test_components():
    parts = {component_of(path) for path in _parameters(TINY)}
    assert parts == {"tower", "projector", "llm"}
    assert component_of("visual/patch_embed/kernel") == "tower"
    assert component_of(("merger", "fc1", "bias")) == "projector"
    assert component_of("llm/head/kernel") == "llm"
    with pytest.raises(ValueError, match="must begin with"):
        component_of("lora/a")


def test_from_hf_reads_both_layouts():
    rope = {"type": "mrope", "mrope_section": [16, 24, 24]}
    text = {
        "hidden_size": 2048,
        "intermediate_size": 11008,
        "num_attention_heads": 16,
        "num_hidden_layers": 36,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1000000.0,
        "rope_scaling": rope,
        "vocab_size": 151936,
        "tie_word_embeddings": True,
        "max_position_embeddings": 128000,
    }
    vision = {
        "hidden_size": 1280,
        "intermediate_size": 3420,
        "out_hidden_size": 2048,
        "tokens_per_second": 2,
    }
    top = {"model_type": "qwen2_5_vl", "vision_config": vision}
    flat = from_hf({**top, **text})
    nested = from_hf({**top, "text_config": text})
    assert flat == nested == FAMILY.published("3b")
    assert hash(flat) == hash(FAMILY.published("3b"))

    with pytest.raises(ValueError, match="model_type 'qwen2_vl' is not qwen2_5_vl"):
        from_hf({**top, **text, "model_type": "qwen2_vl"})
    with pytest.raises(ValueError, match="the factor of rope type 'yarn' is None"):
        from_hf({**top, **text, "rope_scaling": {"type": "yarn"}})
    with pytest.raises(ValueError, match="rope type 'longrope' is not supported"):
        from_hf({**top, **text, "rope_scaling": {"type": "longrope"}})
    with pytest.raises(ValueError, match=r"spatial_merge_size\) 3 is not supported"):
        from_hf({**top, **text, "vision_config": {**vision, "spatial_merge_size": 3}})
    with pytest.raises(ValueError, match="out_hidden_size 99 differs"):
        from_hf({**top, **text, "vision_config": {**vision, "out_hidden_size": 99}})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(remat="some"), "remat 'some' is unknown"),
        (dict(tower_remat="some"), "remat 'some' is unknown"),
        (dict(attention="fast"), "attention 'fast' is unknown"),
    ],
)
def test_bad_compute_options(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(TINY, **change)


def test_bad_architecture():
    with pytest.raises(ValueError, match="mrope_section"):
        dataclasses.replace(TINY.text, mrope_section=(1, 1, 1))
    with pytest.raises(ValueError, match=r"fullatt_block_indexes \[3\]"):
        dataclasses.replace(TINY.vision, fullatt_block_indexes=(3,))
    with pytest.raises(ValueError, match="window_size 100"):
        dataclasses.replace(TINY.vision, window_size=100)


def _gradient(config):
    arrays = _arrays(config)
    graphdef, params = nnx.split(Qwen2_5VL(config, rngs=nnx.Rngs(0)))

    def loss(params):
        return (nnx.merge(graphdef, params).hidden_states(arrays) ** 2).mean()

    return jax.jit(jax.grad(loss))(params)


@pytest.fixture(scope="module")
def gradient_without_remat():
    return _gradient(TINY)


@pytest.mark.parametrize(
    ("remat", "tower"), [("full", "mlp"), ("attention", ""), ("qkv", ""), ("mlp", "")]
)
def test_remat_changes_nothing_but_memory(remat, tower, gradient_without_remat):
    found = _gradient(dataclasses.replace(TINY, remat=remat, tower_remat=tower))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), found, gradient_without_remat
    )


def test_bfloat16_loses_little_beyond_rounding_the_parameters():
    arrays = _arrays(TINY)
    graphdef, params = nnx.split(Qwen2_5VL(TINY, rngs=nnx.Rngs(0)))
    half = dataclasses.replace(TINY, dtype="bfloat16")
    half_graphdef, _ = nnx.split(Qwen2_5VL(half, rngs=nnx.Rngs(0)))
    rounded = jax.tree.map(lambda x: x.astype(jnp.bfloat16).astype(x.dtype), params)

    exact = nnx.merge(graphdef, params).hidden_states(arrays)
    found = nnx.merge(half_graphdef, params).hidden_states(arrays)
    assert found.dtype == jnp.bfloat16
    unavoidable = jnp.linalg.norm(nnx.merge(graphdef, rounded).hidden_states(arrays) - exact)
    error = jnp.linalg.norm(found.astype(jnp.float32) - exact)
    assert 0 < unavoidable < 0.02 * jnp.linalg.norm(exact)
    assert error < 3 * unavoidable


def test_padding_and_text_only_rows_are_finite_and_independent():
    arrays = _arrays(TINY)
    model = Qwen2_5VL(TINY, rngs=nnx.Rngs(0))
    padded = {**arrays, "segment_ids": arrays["segment_ids"].at[1].set(0)}
    padded["patch_frames"] = arrays["patch_frames"].at[1].set(0)
    padded["patch_windows"] = arrays["patch_windows"].at[1].set(0)
    found, alone = model.hidden_states(padded), model.hidden_states(arrays)
    assert jnp.isfinite(found).all()
    np.testing.assert_allclose(found[0, :-3], alone[0, :-3], atol=1e-6)

    text = {name: arrays[name] for name in ("tokens", "positions", "segment_ids")}
    no_media = {**arrays, "visual_index": jnp.full_like(arrays["visual_index"], -1)}
    np.testing.assert_allclose(
        model.hidden_states(text)[:, :-3], model.hidden_states(no_media)[:, :-3], atol=1e-6
    )


def test_sharded_init_and_step_equal_one_device(gradient_without_remat):
    """Parameters made in their shards on a 2 x 2 x 2 mesh; the same gradient as on one device."""
    mesh = jax.make_mesh((2, 2, 2), ("data", "fsdp", "tensor"), axis_types=(AxisType.Auto,) * 3)
    config = TINY
    arrays = _arrays(config)
    graphdef, expected_params = nnx.split(Qwen2_5VL(config, rngs=nnx.Rngs(0)))

    def make():
        return nnx.split(Qwen2_5VL(config, rngs=nnx.Rngs(0)))[1]

    def gradient(params, arrays):
        def loss(params):
            return (nnx.merge(graphdef, params).hidden_states(arrays) ** 2).mean()

        return jax.grad(loss)(params)

    def sharding(path, _):
        name = "/".join(str(key.key) for key in path if hasattr(key, "key"))
        (spec,) = (spec for pattern, spec in partition_rules() if re.fullmatch(pattern, name))
        return NamedSharding(mesh, PartitionSpec(*spec))

    with jax.set_mesh(mesh):
        shardings = jax.tree_util.tree_map_with_path(sharding, jax.eval_shape(make))
        params = jax.jit(make, out_shardings=shardings)()
        rows = NamedSharding(mesh, PartitionSpec(("data", "fsdp")))
        found = jax.jit(gradient)(params, jax.device_put(arrays, rows))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), params, expected_params)
    kernel = params["llm"]["layers"]["q"]["kernel"][...]
    assert kernel.addressable_shards[0].data.shape == (2, 16, 16)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), found, gradient_without_remat
    )
