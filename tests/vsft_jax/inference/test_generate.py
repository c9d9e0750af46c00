"""Generation: against running the whole model again for every token, and its bookkeeping."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.conftest import devices
from tests.vsft_jax.inference.one_prompt import alone, generate
from vsft_jax.inference.decoding import Decoding, Endings
from vsft_jax.inference.generate import (
    Draws,
    _for_decoding,
    advance_compiled,
    generate_compiled,
    generate_stepwise,
)
from vsft_jax.inference.generate import generate as generate_packed
from vsft_jax.inference.token_sampling import GREEDY, Sampling, narrow
from vsft_jax.models.qwen2_5_vl.config import ModelConfig, TextConfig, VisionConfig
from vsft_jax.models.qwen2_5_vl.model import Qwen2_5VL
from vsft_jax.models.shared.partition import partition_rules
from vsft_jax.sharding import abstract_model, make_mesh, put_batch

STEPS = 6
DRAWN = Sampling(2.0, top_p=0.9)
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
    found = generate(*model, arrays, lengths, Decoding(STEPS, (), banned, 45))
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
    free = generate(*model, arrays, lengths, Decoding(STEPS, (), (), 45))
    first = free.tokens[0].tolist()
    stop = next(token for token in first[1:] if token != first[0])
    at = first.index(stop)
    found = generate(*model, arrays, lengths, Decoding(STEPS, (stop,), (), 45))
    assert found.tokens[0].tolist() == first[: at + 1] + [45] * (STEPS - at - 1)
    assert found.lengths[0] == at
    np.testing.assert_allclose(found.logprobs[0, : at + 1], free.logprobs[0, : at + 1], atol=1e-5)
    assert found.logprobs[0, at + 1 :].tolist() == [0.0] * (STEPS - at - 1)

    found = generate(*model, arrays, lengths, Decoding(STEPS, (), first, 45))
    assert not set(found.tokens[0].tolist()) & set(first)


def test_same_shapes_compile_once(model):
    arrays, lengths = _prompts()
    graphdef, params = model
    generate(graphdef, params, arrays, lengths, Decoding(STEPS, [3], [48, 49], 45))
    compiled = generate_compiled._cache_size()
    # Another model object, other values, the same sets of tokens in another order.
    again, _ = nnx.split(Qwen2_5VL(CONFIG, rngs=nnx.Rngs(1)))
    generate(again, params, arrays, lengths - 1, Decoding(STEPS, {3}, (49, 48), 45))
    assert generate_compiled._cache_size() == compiled


def test_refuses_what_cannot_end(model):
    arrays, lengths = _prompts()
    with pytest.raises(ValueError, match="max_new_tokens must be positive, not 0"):
        generate(*model, arrays, lengths, Decoding(0, (1,), (), 45))
    with pytest.raises(ValueError, match="all stop tokens"):
        generate(*model, arrays, lengths, Decoding(3, (1,), (1, 2), 45))
    with pytest.raises(ValueError, match="temperature = 0.5 needs keys, one a prompt"):
        generate(*model, arrays, lengths, Decoding(3, (1,), (2,), 45, Sampling(0.5)))


# ── Beginnings that are shared. ──────────────────────────────────────────────────────────────────


def test_a_shared_beginning_says_what_each_prompt_alone_says(model):
    """Two beginnings in a row, with three and with two endings; one of another row alone."""
    rng = np.random.default_rng(5)
    texts = [rng.integers(0, 46, n) for n in (6, 3, 5)]
    ends = [[rng.integers(0, 46, n) for n in each] for each in ((1, 4, 2), (3, 1), (2,))]
    rows, length, width, most = [[0, 1], [2]], 10, 12, 5
    arrays = {
        "tokens": np.zeros((2, length), np.int32),
        "positions": np.zeros((2, length, 3), np.int32),
        "segment_ids": np.zeros((2, length), np.int32),
    }
    endings = Endings(
        tokens=np.zeros((2, width), np.int32),
        positions=np.zeros((2, width, 3), np.int32),
        prompts=np.zeros((2, width), np.int32),
        last=np.full((2, most), -1, np.int32),
        beginnings=np.zeros((2, most), np.int32),
        next_positions=np.zeros((2, most), np.int32),
    )
    whole = {}
    for r, members in enumerate(rows):
        start, stop, g = 0, 0, 0
        for segment, m in enumerate(members, 1):
            here = slice(start, start + len(texts[m]))
            arrays["tokens"][r, here] = texts[m]
            arrays["positions"][r, here] = np.arange(len(texts[m]))[:, None]
            arrays["segment_ids"][r, here] = segment
            start = here.stop
            for text in ends[m]:
                whole[r, g] = np.concatenate([texts[m], text])
                there = slice(stop, stop + len(text))
                endings.tokens[r, there] = text
                endings.positions[r, there] = len(texts[m]) + np.arange(len(text))[:, None]
                endings.prompts[r, there] = g + 1
                endings.last[r, g] = there.stop - 1
                endings.beginnings[r, g] = segment
                endings.next_positions[r, g] = len(whole[r, g])
                stop, g = there.stop, g + 1
    found = jax.device_get(generate_packed(*model, arrays, endings, Decoding(STEPS, (7,), (), 45)))
    assert set(zip(*np.nonzero(endings.last >= 0), strict=True)) == set(whole)
    for at, tokens in whole.items():
        places = np.repeat(np.arange(len(tokens))[:, None], 3, axis=1)
        expected, logprobs = _by_hand(model, tokens.tolist(), places.tolist(), ())
        stop = expected.index(7) if 7 in expected else STEPS
        assert found.lengths[at] == stop
        assert found.tokens[at].tolist()[: stop + 1] == expected[: stop + 1]
        np.testing.assert_allclose(found.logprobs[at][: stop + 1], logprobs[: stop + 1], atol=1e-4)
    assert found.lengths[1, 1:].tolist() == [0] * 4 and (found.tokens[1, 1:] == 45).all()


# ── Drawing. ────────────────────────────────────────────────────────────────────────────────────


def _draw(model, arrays, lengths, keys, seed=0, sampling=DRAWN, banned=()):
    return jax.device_get(
        generate(
            *model,
            arrays,
            lengths,
            Decoding(STEPS, (), banned, 45, sampling),
            seed=seed,
            keys=np.asarray(keys, np.uint32),
        )
    )


def test_what_is_drawn_is_the_rows_own(model):
    arrays, lengths = _prompts()
    first = _draw(model, arrays, lengths, (11, 22, 0))
    # Other places, another row beside them, and a batch of another size.
    order = jnp.array([1, 0, 0, 1])
    moved = _draw(model, {k: v[order] for k, v in arrays.items()}, lengths[order], (22, 11, 12, 22))
    assert moved.tokens[0].tolist() == moved.tokens[3].tolist() == first.tokens[1].tolist()
    assert moved.tokens[1].tolist() == first.tokens[0].tolist() != moved.tokens[2].tolist()
    np.testing.assert_allclose(moved.logprobs[1], first.logprobs[0], atol=1e-4)

    compiled = generate_compiled._cache_size()
    other = _draw(model, arrays, lengths, (11, 22, 0), seed=1)
    assert generate_compiled._cache_size() == compiled
    assert other.tokens[0].tolist() != first.tokens[0].tolist()
    assert first.tokens[2].tolist() == [45] * STEPS


def test_drawn_tokens_are_allowed_ones_with_the_models_own_probabilities(model):
    arrays, lengths = _prompts()
    sampling, banned = Sampling(1.5, top_p=0.8, top_k=5), CONFIG.media_token_ids
    found = _draw(model, arrays, lengths, (3, 4, 0), sampling=sampling, banned=banned)
    network = nnx.merge(*model)
    for row in (0, 1):
        n = int(lengths[row])
        tokens = arrays["tokens"][row, :n].tolist() + found.tokens[row].tolist()
        places = arrays["positions"][row, :n].tolist()
        places += [[max(map(max, places)) + 1 + i] * 3 for i in range(STEPS)]
        whole = {
            "tokens": jnp.array([tokens]),
            "positions": jnp.array([places]),
            "segment_ids": jnp.ones((1, n + STEPS), jnp.int32),
        }
        logits = np.array(network.unembed(network.hidden_states(whole)[0, n - 1 : -1]))
        logits[:, list(banned)] = -np.inf
        allowed = np.asarray(narrow(jnp.asarray(logits), sampling)) > -np.inf
        assert allowed[np.arange(STEPS), found.tokens[row]].all() and not allowed.all()
        wide = logits.astype(np.float64)
        wide -= np.log(np.exp(wide).sum(axis=-1, keepdims=True))
        expected = wide[np.arange(STEPS), found.tokens[row]]
        np.testing.assert_allclose(found.logprobs[row], expected, atol=1e-4)


# ── Precision and devices. ──────────────────────────────────────────────────────────────────────


def test_converting_parameters_before_decoding_changes_no_bit(model):
    config = dataclasses.replace(CONFIG, dtype="bfloat16")
    graphdef, _ = nnx.split(Qwen2_5VL(config, rngs=nnx.Rngs(0)))
    arrays, _ = _prompts()

    def run(network):
        hidden, cache = network.prefill(arrays, 1)
        return network.unembed(hidden), cache

    expected, cache = run(nnx.merge(graphdef, model[1]))
    converted = _for_decoding(graphdef, model[1])
    found, _ = run(converted)
    assert converted.llm.layers.q.kernel.dtype == cache.keys.dtype == jnp.bfloat16
    assert converted.visual.blocks.q.kernel.dtype == jnp.float32
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("sampling", [GREEDY, DRAWN], ids=str)
def test_eight_devices_say_what_one_says(model, sampling):
    arrays, lengths = _prompts()
    rows = jnp.arange(8) % 2
    arrays = jax.device_get({k: v[rows] for k, v in arrays.items()})
    lengths = np.asarray(lengths[rows])
    arrays, endings = alone({k: v for k, v in arrays.items() if k != "keys"}, lengths)
    found = []
    for count, shape in ((1, (1, 1, 1)), (8, (2, 2, 2))):
        with devices(count):
            mesh = make_mesh(dict(zip(("data", "fsdp", "tensor"), shape, strict=True)))
        with jax.set_mesh(mesh):
            _, like = abstract_model(
                lambda: Qwen2_5VL(CONFIG, rngs=nnx.Rngs(0)), partition_rules(), mesh
            )
            params = jax.tree.map(lambda x, y: jax.device_put(x, y.sharding), model[1], like)
            keys = np.arange(8, dtype=np.uint32)[:, None]
            placed = put_batch({**arrays, "keys": keys}, mesh, 8)
            said = generate_packed(
                model[0],
                params,
                placed,
                Endings(**put_batch(endings._asdict(), mesh, 8)),
                Decoding(STEPS, (), (), 45, sampling),
                keys=placed["keys"],
            )
            found.append(jax.device_get(said))
    np.testing.assert_array_equal(found[0].tokens, found[1].tokens)
    # The logits are in the hundreds.
    np.testing.assert_allclose(found[0].logprobs, found[1].logprobs, atol=1e-3)


def test_the_cache_is_split_over_rows_and_heads(model):
    with devices(8):
        mesh = make_mesh({"data": 2, "fsdp": 2, "tensor": 2})
    with jax.set_mesh(mesh):
        graphdef, params = abstract_model(
            lambda: Qwen2_5VL(CONFIG, rngs=nnx.Rngs(0)), partition_rules(), mesh
        )
        arrays, lengths = _prompts()
        rows = jnp.zeros(8, jnp.int32)
        arrays = {k: np.asarray(v[rows]) for k, v in arrays.items() if k != "targets"}
        arrays, endings = alone(arrays, lengths[rows])
        program = generate_compiled.lower(
            graphdef,
            params,
            put_batch(arrays, mesh, 8),
            Endings(**put_batch(endings._asdict(), mesh, 8)),
            Draws(np.uint32(0), None, None),
            decoding=Decoding(STEPS, (), (), 0),
        ).compile()
    # Of [2 layers, 8 rows, 9 + 1 + 5 slots, 2 heads, 8] each device has two rows and one head.
    text = program.as_text()
    assert "f32[2,2,15,1,8]" in text
    assert "f32[2,8,15,2,8]" not in text and "f32[2,8,15,1,8]" not in text


def test_the_likeliest_tokens_of_each_step_come_with_what_was_chosen(model):
    arrays, lengths = _prompts()
    decoding = Decoding(STEPS, (), (46, 47), 45)
    plain = generate(*model, arrays, lengths, decoding)
    told = generate(*model, arrays, lengths, dataclasses.replace(decoding, likeliest=5))
    assert plain.likeliest is None and plain.likeliest_logprobs is None
    np.testing.assert_array_equal(told.tokens, plain.tokens)
    assert told.likeliest.shape == told.likeliest_logprobs.shape == (3, STEPS, 5)
    for row in range(2):
        length = int(told.lengths[row])
        np.testing.assert_array_equal(told.likeliest[row, :length, 0], told.tokens[row, :length])
        best = np.asarray(told.likeliest_logprobs[row, :length])
        np.testing.assert_allclose(best[:, 0], told.logprobs[row, :length], rtol=1e-6)
        assert (np.diff(best, axis=1) <= 0).all() and (np.exp(best).sum(axis=1) <= 1 + 1e-5).all()
        assert not np.isin(told.likeliest[row, :length], decoding.banned_ids).any()


# ── Options; a step at a time. ───────────────────────────────────────────────────────────────────


def test_the_likeliest_option_is_what_is_said_freely_where_that_is_one(model):
    arrays, lengths = _prompts()
    arrays, endings = alone(arrays, lengths)
    free = generate_packed(*model, arrays, endings, Decoding(1, (), (46,), 45))
    said = int(free.tokens[0, 0, 0])
    other = [token for token in (3, 4, 5, 6) if token not in (said, int(free.tokens[1, 0, 0]))]
    options = np.array([[[other[0], said, other[1]]], [[*other[:2], -1]], [[-1, -1, -1]]], np.int32)
    found = generate_packed(*model, arrays, endings, Decoding(1, (), (46,), 45), options=options)
    assert found.tokens[0, 0, 0] == said and found.logprobs[0, 0, 0] == free.logprobs[0, 0, 0]
    told = generate_packed(*model, arrays, endings, Decoding(1, (), (46,), 45, likeliest=45))
    ranks = told.likeliest[1, 0, 0].tolist()
    assert found.tokens[1, 0, 0] == min(other[:2], key=ranks.index) != free.tokens[1, 0, 0]
    # Its own probability among all tokens, not among the options.
    at = ranks.index(int(found.tokens[1, 0, 0]))
    np.testing.assert_allclose(found.logprobs[1, 0, 0], told.likeliest_logprobs[1, 0, 0, at])
    assert found.lengths[2, 0] == 0 and (found.tokens[2] == 45).all()


def test_steps_are_those_of_the_whole_and_end_with_it(model):
    arrays, lengths = _prompts()
    arrays, endings = alone(arrays, lengths)
    free = generate_packed(*model, arrays, endings, Decoding(STEPS, (), (), 45))
    stops = {int(free.tokens[0, 0, 1]), int(free.tokens[1, 0, 3])}
    decoding = Decoding(STEPS, stops, (), 45, GREEDY, 3)
    whole = jax.device_get(generate_packed(*model, arrays, endings, decoding))
    steps = list(generate_stepwise(*model, arrays, endings, decoding))
    assert len(steps) == int(whole.lengths.max()) + 1 < STEPS and steps[-1].done.all()
    for name, there in (("token", "tokens"), ("logprob", "logprobs"), ("likeliest", "likeliest")):
        found = np.stack([getattr(step, name) for step in steps], axis=2)
        np.testing.assert_allclose(found, getattr(whole, there)[:, :, : len(steps)], atol=1e-5)
    compiled = advance_compiled._cache_size()
    (first, *_) = generate_stepwise(*model, arrays, endings, decoding, seed=1)
    assert advance_compiled._cache_size() == compiled and not first.done[0, 0]


def test_steps_that_are_drawn_are_drawn_as_in_the_whole(model):
    arrays, lengths = _prompts()
    arrays, endings = alone(arrays, lengths)
    decoding, keys = Decoding(STEPS, (), (), 45, DRAWN), np.array([[11], [22], [0]], np.uint32)
    whole = generate_packed(*model, arrays, endings, decoding, seed=3, keys=keys)
    steps = generate_stepwise(*model, arrays, endings, decoding, seed=3, keys=keys)
    found = np.stack([step.token for step in steps], axis=2)
    np.testing.assert_array_equal(found, whole.tokens)
