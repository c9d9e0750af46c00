"""Generation: against running the whole model again for every token, and its bookkeeping."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from vsft_jax.generate import generate, generate_compiled
from vsft_jax.models.qwen2_5_vl import ModelConfig, Qwen2_5VL, TextConfig, VisionConfig

STEPS = 6
CONFIG = ModelConfig(
    VisionConfig(depth=1, width=16, mlp_width=16, heads=2, fullatt_block_indexes=(0,)),
    TextConfig(2, 32, 48, 4, 2, 50, head_dim=8, mrope_section=(2, 1, 1)),
    image_token_id=46,
    video_token_id=47,
    vision_start_token_id=48,
    vision_end_token_id=49,
    dtype="float32",
    remat="none",
)


@pytest.fixture(scope="module")
def model():
    """A model with weights large enough that its choices vary."""
    graphdef, params = nnx.split(Qwen2_5VL(CONFIG, rngs=nnx.Rngs(0)))
    params = jax.tree_util.tree_map_with_path(
        lambda path, x: 12 * x if "kernel" in str(path) or "embedding" in str(path) else x, params
    )
    return graphdef, params


def _prompts():
    """Three rows: 7 tokens, 4 tokens whose last position is far ahead, and an empty one."""
    rng = np.random.default_rng(3)
    lengths = np.array([7, 4, 0], np.int32)
    valid = np.arange(9) < lengths[:, None]
    tokens = np.where(valid, rng.integers(0, 46, (3, 9)), 0).astype(np.int32)
    positions = np.broadcast_to(np.arange(9)[:, None], (3, 9, 3)) * valid[..., None]
    positions = positions.astype(np.int32)
    positions[1, 2] = (30, 3, 3)
    arrays = {
        "tokens": tokens,
        "positions": positions,
        "segment_ids": valid.astype(np.int32),
        "targets": tokens,
    }
    return {name: jnp.asarray(value) for name, value in arrays.items()}, jnp.asarray(lengths)


def _by_hand(model, tokens, positions, banned):
    """Greedy continuation of one prompt, the whole model run anew for every token."""
    network = nnx.merge(*model)
    tokens, positions = list(tokens), [tuple(p) for p in positions]
    start = max(max(p) for p in positions) + 1
    chosen, logprobs = [], []
    for step in range(STEPS):
        arrays = {
            "tokens": jnp.array([tokens]),
            "positions": jnp.array([positions]),
            "segment_ids": jnp.ones((1, len(tokens)), jnp.int32),
        }
        logits = np.array(network.unembed(network.hidden_states(arrays)[0, -1]), np.float64)
        logits[list(banned)] = -np.inf
        token = int(logits.argmax())
        chosen.append(token)
        logprobs.append(logits[token] - np.log(np.exp(logits).sum()))
        tokens.append(token)
        positions.append((start + step,) * 3)
    return chosen, logprobs


def test_equals_running_the_whole_model_for_every_token(model):
    arrays, lengths = _prompts()
    banned = CONFIG.media_token_ids
    found = generate(*model, arrays, lengths, STEPS, (), banned, pad_id=45)
    for row in (0, 1):
        n = int(lengths[row])
        expected, logprobs = _by_hand(
            model, arrays["tokens"][row, :n].tolist(), arrays["positions"][row, :n].tolist(), banned
        )
        assert len(set(expected)) > 2
        assert found.tokens[row].tolist() == expected
        np.testing.assert_allclose(found.logprobs[row], logprobs, atol=1e-4)
        assert found.lengths[row] == STEPS
    assert found.tokens[2].tolist() == [45] * STEPS
    assert found.logprobs[2].tolist() == [0.0] * STEPS
    assert found.lengths[2] == 0


def test_stop_and_banned_tokens(model):
    arrays, lengths = _prompts()
    free = generate(*model, arrays, lengths, STEPS, (), (), pad_id=45)
    first = free.tokens[0].tolist()
    stop = next(token for token in first[1:] if token != first[0])
    at = first.index(stop)
    found = generate(*model, arrays, lengths, STEPS, (stop,), (), pad_id=45)
    assert found.tokens[0].tolist() == first[: at + 1] + [45] * (STEPS - at - 1)
    assert found.lengths[0] == at
    np.testing.assert_allclose(found.logprobs[0, : at + 1], free.logprobs[0, : at + 1], atol=1e-5)
    assert found.logprobs[0, at + 1 :].tolist() == [0.0] * (STEPS - at - 1)

    found = generate(*model, arrays, lengths, STEPS, (), first, pad_id=45)
    assert not set(found.tokens[0].tolist()) & set(first)


def test_same_shapes_compile_once(model):
    arrays, lengths = _prompts()
    graphdef, params = model
    generate(graphdef, params, arrays, lengths, STEPS, [3], [48, 49], pad_id=45)
    compiled = generate_compiled._cache_size()
    # Another model object, other values, the same sets of tokens in another order.
    again, _ = nnx.split(Qwen2_5VL(CONFIG, rngs=nnx.Rngs(1)))
    generate(again, params, arrays, lengths - 1, STEPS, {3}, (49, 48), pad_id=45)
    assert generate_compiled._cache_size() == compiled


def test_refuses_what_cannot_end(model):
    arrays, lengths = _prompts()
    with pytest.raises(ValueError, match="max_new_tokens must be positive, not 0"):
        generate(*model, arrays, lengths, 0, (1,), (), pad_id=45)
    with pytest.raises(ValueError, match="all stop tokens"):
        generate(*model, arrays, lengths, 3, (1,), (1, 2), pad_id=45)
