"""Attention against a plain numpy loop over heads, and by tiles against XLA's."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vsft_jax.models.shared import stacks
from vsft_jax.models.shared.attention import IMPLEMENTATIONS, attend, attention, short_segments
from vsft_jax.sharding import batch_sharding, make_mesh


def _numpy_attention(q, k, v, q_segments, kv_segments, causal=False, window=None, ahead=None):
    out = np.zeros(q.shape)
    group = q.shape[2] // k.shape[2]
    for b in range(q.shape[0]):
        allowed = q_segments[b][:, None] == kv_segments[b][None, :]
        if causal:
            behind = np.subtract.outer(*map(np.arange, allowed.shape))
            allowed &= behind >= (0 if ahead is None else -ahead[b][:, None])
            allowed &= behind < (window or np.inf)
        for head in range(q.shape[2]):
            scores = q[b, :, head] @ k[b, :, head // group].T / np.sqrt(q.shape[-1])
            weights = np.exp(scores) * allowed
            weights = weights / np.maximum(weights.sum(-1, keepdims=True), 1e-30)
            out[b, :, head] = weights @ v[b, :, head // group]
    return out


def _qkv(length, kv_length=None, heads=4, kv_heads=2, seed=0, width=8, rows=2):
    rng = np.random.default_rng(seed)
    shapes = [(rows, length, heads, width)] + 2 * [(rows, kv_length or length, kv_heads, width)]
    return [rng.normal(size=shape).astype(np.float32) for shape in shapes]


def _runs(length, longest, padding, seed=0, count=2):
    """Contiguous segments of random lengths up to `longest`, then `padding` zeros."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        ids, segment = [], 0
        while len(ids) < length - padding:
            segment += 1
            ids += [segment] * int(rng.integers(1, longest + 1))
        rows.append(ids[: length - padding] + [0] * padding)
    return np.array(rows, np.int32)


@pytest.mark.parametrize("length", [30, 600])
def test_a_second_segment_and_queries_behind_the_other_keys(length):
    """Texts that each look at one of two beginnings before them, and at themselves."""
    before, rng = 20, np.random.default_rng(1)
    q, k, v = _qkv(length, before + length)
    own = np.sort(rng.integers(1, 6, (2, length)), axis=1).astype(np.int32)
    also = -(1 + own % 2)
    slots = np.concatenate([np.repeat([[-1] * 9 + [-2] * 11], 2, axis=0), own], axis=1)
    found = attention(
        q, k, v, q_segment_ids=own, kv_segment_ids=slots, also_segment_ids=also, causal=True
    )
    for b, i in np.ndindex(2, length):
        kept = np.flatnonzero(
            ((slots[b] == own[b, i]) | (slots[b] == also[b, i]))
            & (np.arange(before + length) <= before + i)
        )
        alone = np.ones((1, len(kept)), np.int32)
        expected = _numpy_attention(
            q[b : b + 1, i : i + 1], k[b : b + 1, kept], v[b : b + 1, kept], alone[:, :1], alone
        )
        np.testing.assert_allclose(found[b, i], expected[0, 0], atol=1e-5)
    with pytest.raises(ValueError, match="not both"):
        attention(q, q, q, segment_ids=own, also_segment_ids=also)


TILED = pytest.mark.parametrize("tiled", ["splash", "segments"])


@pytest.mark.parametrize("implementation", ["xla", "segments"])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("length", [50, 600])  # one tile, and several with an uneven last
def test_equals_plain_attention(causal, length, implementation):
    q, k, v = _qkv(length)
    segments = _runs(length, 40, padding=7)
    found = attention(q, k, v, segment_ids=segments, causal=causal, implementation=implementation)
    expected = _numpy_attention(q, k, v, segments, segments, causal)
    real = segments > 0
    np.testing.assert_allclose(np.asarray(found)[real], expected[real], atol=1e-5)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("length", [49, 64, 130])
def test_local_attention_equals_dense(length):
    """Runs as long as promised, at every offset to the blocks, padding longer than a block."""
    q, k, v = _qkv(length, kv_heads=4)
    segments = _runs(length, 16, padding=20)
    found = attention(q, k, v, segment_ids=segments, max_segment_length=16, implementation="xla")
    expected = _numpy_attention(q, k, v, segments, segments)
    real = segments > 0
    np.testing.assert_allclose(np.asarray(found)[real], expected[real], atol=1e-5)
    assert np.isfinite(found).all()


def test_more_keys_than_queries():
    q, k, v = _qkv(1, 20)
    keys = (np.arange(20) % 3 == 0).astype(np.int32)[None].repeat(2, 0)
    ones = np.ones((2, 1), np.int32)
    found = attention(q, k, v, q_segment_ids=ones, kv_segment_ids=keys)
    np.testing.assert_allclose(found, _numpy_attention(q, k, v, ones, keys), atol=1e-5)


def test_nothing_to_attend_to_is_finite_forward_and_backward():
    q, k, v = _qkv(5, 6)
    ones, zeros = np.ones((2, 5), np.int32), np.zeros((2, 6), np.int32)

    def total(q, k, v):
        return attention(q, k, v, q_segment_ids=ones, kv_segment_ids=zeros).sum()

    value, gradients = jax.value_and_grad(total, argnums=(0, 1, 2))(q, k, v)
    assert np.isfinite(value)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("implementation", ["xla", "segments"])
def test_softmax_is_float32_under_bfloat16(implementation):
    """Many equal scores: bfloat16 sums of exponentials would stall at 256."""
    ones = jnp.ones((1, 1000, 1, 8), jnp.bfloat16)
    values = jnp.broadcast_to(jnp.arange(1000)[None, :, None, None] < 500, ones.shape)
    segments = jnp.ones((1, 1000), jnp.int32)
    values = values.astype(jnp.bfloat16)
    found = attention(ones, ones, values, segment_ids=segments, implementation=implementation)
    assert found.dtype == jnp.bfloat16
    np.testing.assert_allclose(found.astype(np.float32), 0.5, rtol=0.01)


def test_refuses_unclear_calls():
    q, k, v = _qkv(4)
    ids = np.ones((2, 4), np.int32)
    with pytest.raises(ValueError, match="implementation 'flash' is unknown"):
        attention(q, k, v, segment_ids=ids, implementation="flash")
    with pytest.raises(ValueError, match="not both"):
        attention(q, k, v, segment_ids=ids, q_segment_ids=ids)
    with pytest.raises(ValueError, match="for the queries and for the keys"):
        attention(q, k, v, q_segment_ids=ids)
    with pytest.raises(ValueError, match="bidirectional"):
        attention(q, k, v, segment_ids=ids, max_segment_length=2, causal=True)
    with pytest.raises(ValueError, match="ahead is for causal self-attention"):
        attention(q, k, v, segment_ids=ids, ahead=ids)
    with pytest.raises(ValueError, match="a window is for causal attention"):
        attention(q, k, v, segment_ids=ids, window=2)


def _value_and_gradients(q, k, v, segments, **options):
    """What attention returns where segments are not padding, and the gradients of a sum of it."""

    def total(q, k, v):
        out = attention(q, k, v, segment_ids=segments, **options)
        out = jnp.where((segments > 0)[..., None, None], out, 0)
        return (out * jnp.cos(jnp.arange(out.size)).reshape(out.shape)).sum(), out

    (_, out), gradients = jax.jit(jax.value_and_grad(total, (0, 1, 2), has_aux=True))(q, k, v)
    return out, *gradients


def _check(tiled, q, k, v, segments, expected_options=None, atol=2e-5, **options):
    found = _value_and_gradients(q, k, v, segments, implementation=tiled, **options)
    expected = _value_and_gradients(
        q, k, v, segments, implementation="xla", **(expected_options or options)
    )
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=atol)
    known = {name: options[name] for name in ("causal", "window", "ahead") if name in options}
    plain = _numpy_attention(q, k, v, segments, segments, **known)
    real = segments > 0
    np.testing.assert_allclose(np.asarray(found[0])[real], plain[real], atol=atol)


@TILED
@pytest.mark.parametrize(
    ("width", "kv_heads", "causal", "length"),
    [(64, 4, False, 200), (72, 4, True, 256), (80, 1, False, 300), (128, 2, True, 300)],
)
def test_tiles_equal_plain_attention(tiled, width, kv_heads, causal, length):
    """Forward and backward: head widths of the towers and language models, grouped keys, rows that
    are no multiple of a block, segments that begin and end inside blocks, padding."""
    q, k, v = _qkv(length, kv_heads=kv_heads, width=width)
    _check(tiled, q, k, v, _runs(length, 150, padding=40), causal=causal)


def _pictures(length, longest, seed=2):
    """int[2, length]: how much of its picture is still to come at each place, 0 in text."""
    rng, rows = np.random.default_rng(seed), []
    for _ in range(2):
        row = []
        while len(row) < length:
            row += [0] * int(rng.integers(1, 20))
            row += range(int(rng.integers(1, longest)), -1, -1)
        rows.append(row[:length])
    return np.minimum(rows, np.arange(length)[::-1]).astype(np.int32)


@TILED
@pytest.mark.parametrize("pictures", [False, True])
@pytest.mark.parametrize("window", [40, 150])
def test_windows_and_pictures_seen_whole(tiled, window, pictures):
    """A window smaller and larger than a tile; pictures that cross tiles, windows and segments."""
    q, k, v = _qkv(400, kv_heads=2, width=64)
    more = {"ahead": _pictures(400, 90)} if pictures else {}
    _check(tiled, q, k, v, _runs(400, 250, padding=40), causal=True, window=window, **more)


def test_a_window_over_given_positions():
    """Keys in slots of any order: nearness goes by their positions."""
    q, k, v = _qkv(3, 40)
    rng = np.random.default_rng(4)
    places = np.stack([rng.permutation(40), rng.permutation(40)]).astype(np.int32)
    ones, keys = np.ones((2, 3), np.int32), np.ones((2, 40), np.int32)
    found = attention(
        *(q, k, v),
        q_segment_ids=ones,
        kv_segment_ids=keys,
        window=9,
        positions=(np.full((2, 3), 40), places),
    )
    near = (places > 31).astype(np.int32)
    np.testing.assert_allclose(found, _numpy_attention(q, k, v, ones, near), atol=1e-5)


@TILED
def test_tiles_of_segments_in_any_order(tiled):
    """Blocks that have to be visited do not follow the diagonal; segments are not even runs."""
    q, k, v = _qkv(512, kv_heads=4, width=64)
    segments = np.random.default_rng(1).integers(1, 4, (2, 512)).astype(np.int32)
    segments[0] = np.repeat([2, 1, 1, 2], 128)
    _check(tiled, q, k, v, segments)


def _windows(length, starts_at):
    """Two rows of windows: longest ones from a position on, then of all lengths; then padding."""
    rng = np.random.default_rng(length)
    rows = []
    for _ in range(2):
        sizes = [starts_at, *[64] * 3, *rng.integers(1, 65, length)]
        row = np.repeat(np.arange(1, len(sizes) + 1), sizes)[: length - 30]
        rows.append(np.pad(row, (0, 30)))
    return np.array(rows, np.int32)


@TILED
@pytest.mark.parametrize(
    ("length", "starts_at", "width"),
    [
        (600, 0, 80),  # three blocks of two tiles; windows fill tiles
        (513, 32, 80),  # the last block has one real position; windows lie across every border
        (512, 1, 72),  # no padding; one position of a window in the tile before
        (90, 26, 64),  # less than a tile
    ],
)
def test_short_windows(tiled, length, starts_at, width, monkeypatch):
    monkeypatch.setattr(short_segments, "BLOCK", 256)
    monkeypatch.setattr(short_segments, "HEADS", 2)
    q, k, v = _qkv(length, kv_heads=4, width=width)
    ids = _windows(length, starts_at)
    _check(tiled, q, k, v, ids, expected_options={}, atol=1e-5, max_segment_length=64)


def test_windows_have_a_kernel_where_they_are_short():
    """Longer ones, and heads that share keys, go through the other kernels."""
    ids = jnp.ones((2, 256), jnp.int32)

    def kernels(longest, kv_heads):
        q, k, v = _qkv(256, kv_heads=kv_heads, width=64)
        call = functools.partial(
            attention, segment_ids=ids, max_segment_length=longest, implementation="splash"
        )
        text = str(jax.make_jaxpr(call)(q, k, v))
        return {name for name in ("splash_mha", "short_segments") if name in text}

    assert kernels(64, 4) == {"short_segments"}
    assert kernels(65, 4) == kernels(64, 2) == kernels(None, 4) == {"splash_mha"}


@TILED
@pytest.mark.parametrize(
    ("kv_heads", "options"),
    [
        (4, dict(causal=True)),  # divided over 'tensor'
        (1, dict(causal=True)),  # repeated for it
        (4, dict(max_segment_length=64)),
    ],
)
def test_tiles_on_a_mesh(tiled, kv_heads, options):
    """Eight devices, each with its rows and heads, give what one gives."""
    q, k, v = _qkv(256, kv_heads=kv_heads, width=64, rows=4)
    segments = _runs(256, options.get("max_segment_length", 100), padding=20, count=4)
    alone = _value_and_gradients(q, k, v, segments, implementation=tiled, **options)
    mesh = make_mesh({"data": 2, "fsdp": 2, "tensor": 2})
    with jax.set_mesh(mesh):
        put = functools.partial(jax.device_put, device=batch_sharding(mesh))
        found = _value_and_gradients(
            *map(put, (q, k, v, segments)), implementation=tiled, **options
        )
    for ours, theirs in zip(found, alone, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize(("remat", "forward"), [("full", 2), ("attention", 1)])
@pytest.mark.parametrize("longest", [None, 64])
def test_kernels_run_once_where_remat_keeps_them(longest, remat, forward):
    """Forward, backward, and forward again only where nothing was kept."""
    q, k, v = _qkv(256, kv_heads=4, width=64)
    segments = jnp.ones((2, 256), jnp.int32)
    policy = jax.checkpoint_policies.save_only_these_names(*stacks.REMAT[remat])

    def total(q):
        out = attention(
            *(jnp.sin(q), k, v),
            segment_ids=segments,
            max_segment_length=longest,
            implementation="splash",
        )
        return jnp.sin(out).sum()

    text = str(jax.make_jaxpr(jax.grad(jax.checkpoint(total, policy=policy)))(q))
    assert text.count("pallas_call[") == forward + 1


def test_work_follows_segments_not_rows():
    """Pairs of tiles that are looked at, told by making all others poisonous."""
    length, segment = 1024, 200
    ids = np.arange(length) // segment + 1
    q, k, v = _qkv(length, rows=1)
    expected = attention(q, k, v, segment_ids=ids[None], causal=True, implementation="segments")
    for number in range(1, ids.max() + 1):
        first = np.argmax(ids == number) // 128 * 128
        poisoned = v.copy()
        poisoned[:, :first] = np.nan  # 0 times NaN would show in the sums
        found = attention(
            q, k, poisoned, segment_ids=ids[None], causal=True, implementation="segments"
        )
        own = np.flatnonzero(ids == number)
        later = own[own >= -(-own[0] // 128) * 128]  # of tiles that hold no earlier segment
        np.testing.assert_array_equal(found[:, later], expected[:, later])


def test_auto_is_segments_on_cpu_and_decoding_is_never_by_tiles(monkeypatch):
    q, k, v = _qkv(300, width=64)
    ids = jnp.ones((2, 300), jnp.int32)
    texts = {
        implementation: str(
            jax.make_jaxpr(
                functools.partial(attention, segment_ids=ids, implementation=implementation)
            )(q, k, v)
        )
        for implementation in IMPLEMENTATIONS
    }
    assert texts["auto"] == texts["segments"] != texts["xla"]
    with monkeypatch.context() as on_gpu:
        on_gpu.setattr(attend, "platform", lambda: "gpu")
        call = functools.partial(attention, segment_ids=ids)
        assert str(jax.make_jaxpr(call)(q, k, v)) == texts["xla"]
    assert "while[" in texts["segments"] and "pallas_call" in texts["splash"]
    one = jnp.ones((2, 1), jnp.int32)
    for implementation in IMPLEMENTATIONS:
        for keys, options in (
            (300, dict(q_segment_ids=one, kv_segment_ids=ids)),
            (1, dict(segment_ids=one)),
        ):
            call = functools.partial(attention, implementation=implementation, **options)
            text = str(jax.make_jaxpr(call)(q[:, :1], k[:, :keys], v[:, :keys]))
            assert "pallas_call" not in text and "while[" not in text
