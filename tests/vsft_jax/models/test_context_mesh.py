"""Rows that several devices share: whatever the mesh, the model computes what one device does."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from vsft_jax.models import family_named
from vsft_jax.models.gemma4 import config as gemma4
from vsft_jax.models.llava_next_video import config as llava
from vsft_jax.models.qwen2_5_vl import config as qwen2_5_vl
from vsft_jax.models.qwen3_5 import config as qwen3_5
from vsft_jax.models.qwen3_vl import config as qwen3_vl
from vsft_jax.models.shared.attention import attention, splash
from vsft_jax.models.shared.config import TextConfig
from vsft_jax.models.shared.partition import partition_rules
from vsft_jax.sharding import AXES, field_sharding, make_mesh, shardings
from vsft_jax.train.loss import token_loss

COMPUTE = dict(dtype="float32", remat="full")
TEXT = dict(depth=2, width=32, mlp_width=48, heads=4, kv_heads=2, vocab_size=48, head_dim=8)
MROPE = TEXT | dict(mrope_section=(2, 1, 1))
TOWER = dict(depth=2, width=16, mlp_width=16, heads=2)
# Windows and whole frames; learned positions and features from inside the tower; class tokens (of
# inputs of 8 places, of which this test's media have any number) and visual tokens that are
# weighted sums, which are taken before they are projected; windows in text, layers without keys and
# with inputs of their own; pictures that see all of themselves, and experts beside MLPs.
GEMMA = TEXT | dict(window=9, full_head_dim=16, logit_cap=5.0)
GEMMA_TOWER = TOWER | dict(kv_heads=2, head_dim=8, merge_size=2, positions=8)
MODELS = {
    "gemma4": gemma4.ModelConfig(
        gemma4.VisionConfig(**GEMMA_TOWER),
        gemma4.TextConfig(
            **(GEMMA | dict(depth=4, full_layers=(1, 3), full_kv_heads=2, layer_input_width=8)),
            shared_layers=2,
        ),
        **COMPUTE,
    ),
    "gemma4 with experts": gemma4.ModelConfig(
        gemma4.VisionConfig(**GEMMA_TOWER, clipped=False, standardize=True),
        gemma4.TextConfig(
            **(GEMMA | dict(full_layers=(1,), k_eq_v=True, two_way_media=True)),
            **dict(experts=6, experts_per_token=3, expert_width=8),
        ),
        **COMPUTE,
    ),
    "qwen2_5_vl": qwen2_5_vl.ModelConfig(
        qwen2_5_vl.VisionConfig(**TOWER, fullatt_block_indexes=(1,)),
        qwen2_5_vl.TextConfig(**MROPE),
        **COMPUTE,
    ),
    # Of whose two groups of heads "tensor" or "context" takes one each, or none. What small states
    # are read as is normalised: with a small eps, rounding would decide.
    "qwen3_5": qwen3_5.ModelConfig(
        qwen3_5.VisionConfig(**TOWER, position_side=4),
        qwen3_5.TextConfig(
            **(MROPE | dict(depth=4, full_layers=(1, 3), rotary_share=1.0)),
            **dict(state_key_heads=2, state_heads=4, state_key_dim=8, state_dim=8, norm_eps=1e-2),
        ),
        **COMPUTE,
    ),
    "qwen3_5 with experts": qwen3_5.ModelConfig(
        qwen3_5.VisionConfig(**TOWER, position_side=4),
        qwen3_5.TextConfig(
            **(MROPE | dict(depth=2, full_layers=(1,), rotary_share=1.0, norm_eps=1e-2)),
            **dict(state_key_heads=2, state_heads=4, state_key_dim=8, state_dim=8),
            **dict(experts=6, experts_per_token=3, shared_width=24),
        ),
        **COMPUTE,
    ),
    "qwen3_vl": qwen3_vl.ModelConfig(
        qwen3_vl.VisionConfig(**TOWER, position_side=4, deepstack_layers=(0,)),
        qwen3_vl.TextConfig(**MROPE),
        **COMPUTE,
    ),
    "qwen3_vl with experts": qwen3_vl.ModelConfig(
        qwen3_vl.VisionConfig(**TOWER, position_side=4, deepstack_layers=(0,)),
        qwen3_vl.TextConfig(**MROPE, experts=6, experts_per_token=3),
        **COMPUTE,
    ),
    "llava_next_video": llava.ModelConfig(
        llava.VisionConfig(**TOWER, image_size=42, feature_layer=-1), TextConfig(**TEXT), **COMPUTE
    ),
}
B, L, N = 4, 48, 128


@functools.cache
def arrays(name):
    """Three examples a row, which end inside shares, and padding; visual tokens in any order, of
    frames of 8 patches in windows of 4."""
    rng, config = np.random.default_rng(0), MODELS[name]
    kinds = {"qwen2_5_vl": (1, 2, 32), "qwen3_vl": (1, 4, 32)}
    kinds |= {"qwen3_5": (1, 4, 32), "gemma4": (1, 2, 32)}
    taps, columns, features = kinds.get(name.split()[0], (4, 1, 128))
    places = np.arange(L)
    shown = rng.random((B, L, 1)) < 0.6
    found = {
        "tokens": rng.integers(0, 48, (B, L)),
        "positions": np.broadcast_to(places[:, None], (B, L, 3)),
        "segment_ids": np.broadcast_to(np.repeat([1, 2, 3, 0], [17, 5, 23, 3]), (B, L)),
        "visual_index": np.where(shown, rng.integers(0, features, (B, L, taps)), -1),
        "targets": rng.integers(0, 48, (B, L)),
        "patch_coords": rng.integers(0, 8, (B, N, columns)),
        "patch_frames": np.broadcast_to(1 + np.arange(N) // 8, (B, N)),
        "patch_windows": np.broadcast_to(1 + np.arange(N) // 4, (B, N)),
    }
    found = {name: value.astype(np.int32) for name, value in found.items()}
    found["loss_weights"] = (rng.random((B, L)) < 0.3).astype(np.float32)
    found["loss_weights"][:, -3:] = 0
    if taps > 1:
        found["visual_weights"] = rng.random((B, L, taps)).astype(np.float32)
    pixels = rng.integers(0, 256, (B, N, config.vision.patch_columns))
    return {**found, "patches": pixels.astype(np.uint8)}


def build(name):
    return family_named(name.split()[0]).model(MODELS[name], rngs=nnx.Rngs(0))


def compiled(name, params, arrays):
    """The loss and its gradients, as a function of params and arrays."""
    graphdef = nnx.split(nnx.eval_shape(lambda: build(name)))[0]

    def loss(params, arrays):
        model = nnx.merge(graphdef, params)
        hidden = model.hidden_states(arrays)
        given = (arrays["targets"], arrays["loss_weights"], 8, model.logit_cap)
        sums = token_loss(model.output_kernel(), hidden, *given)
        return sums.loss / sums.weight

    return jax.jit(jax.value_and_grad(loss)).lower(params, arrays).compile()


@functools.cache
def alone(name):
    params = nnx.split(build(name))[1]
    return params, compiled(name, params, arrays(name))(params, arrays(name))


# Meshes in the order of AXES: data, context, fsdp, tensor.
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("qwen2_5_vl", (1, 2, 2, 2)),
        ("qwen2_5_vl", (2, 4, 1, 1)),
        ("qwen2_5_vl", (1, 8, 1, 1)),
        ("qwen3_vl", (1, 4, 1, 2)),
        ("qwen3_vl with experts", (1, 2, 2, 2)),
        ("qwen3_5", (1, 2, 2, 2)),
        ("qwen3_5", (1, 2, 4, 1)),
        ("qwen3_5", (1, 8, 1, 1)),
        ("qwen3_5 with experts", (1, 2, 2, 2)),
        ("llava_next_video", (2, 2, 2, 1)),
        ("gemma4", (1, 2, 2, 2)),
        ("gemma4 with experts", (1, 4, 1, 2)),
    ],
)
def test_loss_and_gradients_are_those_of_one_device(name, shape):
    params, expected = alone(name)
    mesh = make_mesh(dict(zip(AXES, shape, strict=True)))
    with jax.set_mesh(mesh):
        placed = jax.device_put(params, shardings(params, partition_rules(), mesh))
        batch = {
            name: jax.device_put(value, field_sharding(mesh, value.shape))
            for name, value in arrays(name).items()
        }
        assert batch["tokens"].addressable_shards[0].data.shape == (
            B // (shape[0] * shape[2]),
            L // shape[1],
        )
        step = compiled(name, placed, batch)
        found = step(placed, batch)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5)
    # Gemma's scores are not divided by the root of a head's width, and gradients are larger for it.
    bounds = dict(atol=3e-5, rtol=1e-4) if "gemma" in name else dict(atol=1e-5)
    close = functools.partial(np.testing.assert_allclose, **bounds)
    jax.tree.map(close, found[1], expected[1])
    if (name, shape) == ("qwen2_5_vl", (1, 2, 2, 2)):
        # Of whole rows there are keys and values, of a device's heads, and ids: nothing wider.
        gathered = re.findall(r"= \w+\[([\d,]+)\]\S* all-(?:gather|reduce)", step.as_text())
        sizes = {tuple(map(int, each.split(","))) for each in gathered}
        whole = {each for each in sizes if each[0] == 2 and {*each[1:2]} & {L, N}}
        assert whole == {(2, L, 1, 8), (2, L)}


def attended(q, k, v, segments, **options):
    """What attention gives outside of padding, and gradients of a sum of it."""

    def total(q, k, v, segments):
        out = attention(q, k, v, segment_ids=segments, **options)
        out = jnp.where((segments > 0)[..., None, None], out, 0)
        return (out * jnp.cos(jnp.arange(out.size)).reshape(out.shape)).sum(), out

    gradient = jax.value_and_grad(total, (0, 1, 2), has_aux=True)
    (_, out), gradients = jax.jit(gradient)(q, k, v, segments)
    return out, *gradients


@pytest.mark.parametrize("implementation", ["splash", "segments"])
@pytest.mark.parametrize(
    ("length", "kv_heads", "options"),
    [
        (640, 2, dict(causal=True)),  # shares of 160 queries, which no block divides, and 640 keys
        # Pictures of 70 tokens, one in each hundred.
        (640, 2, dict(causal=True, window=90, ahead=70)),
        (512, 2, dict(within_share=True, max_segment_length=64)),
        (512, 4, dict(within_share=True, max_segment_length=64)),
    ],
)
def test_shares_of_queries_see_the_keys_of_the_row(implementation, length, kv_heads, options):
    rng = np.random.default_rng(0)
    heads = 4, kv_heads, kv_heads
    q, k, v = (rng.normal(size=(2, length, h, 64)).astype(np.float32) for h in heads)
    runs = [64] * 7 + [40, 0] if "within_share" in options else [300, 150, 100, 60]
    ids = np.repeat(np.arange(1, len(runs) + 1), runs)
    segments = np.zeros((2, length), np.int32)
    segments[:, : len(ids)] = ids
    options = dict(options)
    if "ahead" in options:
        rest = np.maximum(options["ahead"] - 1 - np.arange(length) % 100, 0)
        options["ahead"] = np.broadcast_to(rest, (2, length)).astype(np.int32)
    plain = {name: x for name, x in options.items() if name in ("causal", "window", "ahead")}
    expected = attended(q, k, v, segments, implementation="xla", **plain)
    mesh = make_mesh({"context": 4, "fsdp": 1, "tensor": 2})
    with jax.set_mesh(mesh):
        placed = [jax.device_put(x, field_sharding(mesh, x.shape)) for x in (q, k, v, segments)]
        found = attended(*placed, implementation=implementation, **options)
        lowered = jax.jit(functools.partial(attended, implementation=implementation, **options))
        text = lowered.lower(*placed).as_text()
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-5)
    # Keys and values are gathered, and their gradients summed where they belong, or neither.
    moved = ("all_gather" in text, "reduce_scatter" in text)
    assert moved == ("within_share" not in options,) * 2


def test_backward_of_long_rows_keeps_no_gradient_for_each_block_of_keys(monkeypatch):
    rng = np.random.default_rng(0)
    q, k, v = (rng.normal(size=(1, 256, h, 64)).astype(np.float32) for h in (2, 1, 1))
    segments = np.repeat([[1, 2]], [100, 156], axis=1).astype(np.int32)
    options = dict(implementation="splash", causal=True)
    fused = attended(q, k, v, segments, **options)
    monkeypatch.setattr(splash, "_MOST_PARTIAL", 0)
    text = str(jax.make_jaxpr(functools.partial(attended, **options))(q, k, v, segments))
    assert "splash_mha_dq" in text
    for ours, theirs in zip(attended(q, k, v, segments, **options), fused, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-5)
