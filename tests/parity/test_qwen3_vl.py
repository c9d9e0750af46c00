"""Our Qwen3-VL against transformers', with the same random weights, on the CPU."""

import copy
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from transformers import Qwen3VLConfig

from input_pipeline.layout import expand_text
from input_pipeline.media import MediaInfo
from tests.parity.qwen3_reference import (
    HF_CONFIG,
    Media,
    example_tokens,
    hf_inputs,
    hf_logits,
    hf_model,
    hidden_and_logits,
    named_tensors,
    our_config,
    packed_arrays,
    random_image,
    random_video,
)
from tests.parity.reference import greedy, random_text
from tests.vsft_jax.inference.one_prompt import generate
from vsft_jax.huggingface.tensors import params_from_hf, params_to_hf
from vsft_jax.inference import Decoding
from vsft_jax.models.qwen3_vl import FAMILY as qwen3_vl
from vsft_jax.models.shared.qwen.vision import position_weights
from vsft_jax.train.loss import token_loss

ROWS, LENGTH, PATCHES = 2, 224, 512


def _examples():
    """Grids (t, h, w) in patches, below and above the eight learned positions a side."""
    rng = np.random.default_rng(0)
    text = lambda count: random_text(rng, count)  # noqa: E731
    image = lambda height, width: random_image(rng, height, width)  # noqa: E731
    video = lambda *grid: random_video(rng, grid)  # noqa: E731
    return {
        "text": [text(20)],
        "image": [text(4), image(10, 12), text(6)],
        "several images": [text(3), image(6, 10), text(2), image(12, 4), image(2, 2), text(7)],
        "video": [text(5), video(4, 6, 10), text(8)],
        "image and video": [text(3), video(3, 4, 6), text(4), image(10, 6), text(5)],
        # Of different size, length and rate, with a turn of text in between.
        "two videos": [text(3), video(3, 4, 8), text(6), video(5, 6, 4), text(4)],
        "several turns": [text(3), image(4, 4), text(9), text(6), video(1, 8, 4), text(5)],
    }


EXAMPLES = _examples()


@pytest.fixture(scope="module")
def torch_model():
    return hf_model()


@pytest.fixture(scope="module")
def ours(torch_model):
    """Config, graphdef and parameters with transformers' weights."""
    config = our_config()
    tensors = named_tensors(torch_model)
    params = params_from_hf(qwen3_vl, config, tensors)
    graphdef, own = nnx.split(qwen3_vl.model(config, rngs=nnx.Rngs(0)))
    assert jax.tree.structure(params) == jax.tree.structure(own)
    return config, graphdef, params


@pytest.fixture(scope="module")
def run(ours):
    """arrays -> logits, compiled once for all."""
    _, graphdef, params = ours

    def call(arrays):
        return np.asarray(hidden_and_logits(graphdef, params, arrays)[1])

    return call


def _arrays(config, *rows):
    """Rows of examples, and empty ones: always the same shapes, so that one compilation serves."""
    return packed_arrays(config, [*rows, *[()] * (ROWS - len(rows))], LENGTH, PATCHES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_logits(name, torch_model, ours, run):
    config = ours[0]
    arrays = _arrays(config, [EXAMPLES[name]])
    expected = hf_logits(torch_model, config, EXAMPLES[name])
    assert expected.std() > 0.5  # logits that say something
    np.testing.assert_allclose(run(arrays)[0, : len(expected)], expected, atol=2e-4)


def test_one_compilation_serves_every_mix(ours, run):
    run(_arrays(ours[0], [EXAMPLES["text"]]))
    before = hidden_and_logits._cache_size()
    for parts in EXAMPLES.values():
        run(_arrays(ours[0], [parts]))
    assert hidden_and_logits._cache_size() == before


def test_packed_rows_equal_each_example_alone(torch_model, ours, run):
    config = ours[0]
    rows = [["video", "text", "several images"], ["image and video", "two videos"]]
    rows = [[EXAMPLES[name] for name in row] for row in rows]
    found = run(_arrays(config, *rows))
    assert np.isfinite(found).all()
    for row, logits in zip(rows, found, strict=True):
        start = 0
        for parts in row:
            expected = hf_logits(torch_model, config, parts)
            end = start + len(expected)
            np.testing.assert_allclose(logits[start:end], expected, atol=2e-4)
            start = end


@pytest.mark.parametrize("name", ["video", "several images", "two videos", "image and video"])
def test_positions_agree_with_get_rope_index(name, torch_model, ours):
    config = ours[0]
    inputs = hf_inputs(config, EXAMPLES[name])
    keys = ("image_grid_thw", "video_grid_thw", "mm_token_type_ids")
    given = {key: inputs[key] for key in keys if key in inputs}
    expected, _ = torch_model.model.get_rope_index(inputs["input_ids"], **given)
    _, positions, _ = example_tokens(config, EXAMPLES[name])
    np.testing.assert_array_equal(np.array(positions).T, expected[:, 0].numpy())


@pytest.mark.parametrize("name", EXAMPLES)
def test_layout_gives_the_oracle_s_indices(name, ours):
    """From ids with one placeholder a temporal grid to positions and places of features."""
    config, spec = ours[0], qwen3_vl.layout(ours[0].vision)
    parts = [part for part in EXAMPLES[name] if isinstance(part, Media)]
    media = []
    for part in parts:
        t, h, w = part.grid
        frames = range(1 if part.kind == "image" else 2 * t)
        info = MediaInfo(part.kind, 16 * w, 16 * h, tuple(map(float, frames)), float(len(frames)))
        free = dataclasses.replace(spec, video_min_pixels=1, image_min_pixels=1)
        media.append(free.lay_out(info, tuple(frames), 1.0))
        assert media[-1].grid == part.grid and media[-1].placeholders == t
    ids, positions, kinds = example_tokens(config, EXAMPLES[name])
    first = [i for i, kind in enumerate(kinds) if not kind or not kinds[i - 1]]
    media_ids = {"image": config.image_token_id, "video": config.video_token_id}
    found = expand_text(np.array([ids[i] for i in first]), media, spec, media_ids)
    np.testing.assert_array_equal(found.tokens, ids)
    np.testing.assert_array_equal(found.positions, positions)

    arrays = _arrays(config, [EXAMPLES[name]])
    np.testing.assert_array_equal(found.visual_index, arrays["visual_index"][0, : len(ids)])
    start = frame = 0
    for medium in media:
        indices = spec.patch_indices(medium)
        span = slice(start, start + medium.patches)
        np.testing.assert_array_equal(indices.coords, arrays["patch_coords"][0, span])
        np.testing.assert_array_equal(indices.frames + frame + 1, arrays["patch_frames"][0, span])
        np.testing.assert_array_equal(indices.windows, indices.frames)
        start, frame = start + medium.patches, frame + medium.grid[0]


def test_learned_positions_are_interpolated():
    """Odd and mixed grids in one call, against torch's and transformers' own interpolation."""
    from transformers.vision_utils import get_vision_interpolation_indices_and_weights

    side, width = 48, 6
    table = torch.randn(side**2, width, generator=torch.Generator().manual_seed(0))
    grids = [(1, 3, 7), (2, 48, 48), (1, 1, 5), (1, 50, 97), (3, 6, 11), (1, 2, 2)]
    image = table.T.reshape(1, width, side, side)
    coords, resized = [], []
    for t, h, w in grids:
        places = np.stack(np.meshgrid(range(h), range(w), indexing="ij"), -1).reshape(-1, 2)
        frame = np.concatenate([places, np.broadcast_to((h, w), places.shape)], axis=1)
        coords += [frame] * t
        scaled = torch.nn.functional.interpolate(image, (h, w), mode="bilinear", align_corners=True)
        resized += [scaled[0].reshape(width, -1).T] * t
    weights = position_weights(jnp.asarray(np.concatenate(coords)), side)
    found = np.asarray(weights @ jnp.asarray(table.numpy()))
    np.testing.assert_allclose(found, torch.cat(resized).numpy(), atol=1e-4)

    index, theirs = get_vision_interpolation_indices_and_weights(
        torch.tensor(grids), num_grid_per_side=side, align_corners=True
    )
    dense = torch.zeros(weights.shape).scatter_add_(1, index, theirs)
    np.testing.assert_allclose(weights, dense.numpy(), atol=1e-6)


def test_gradients(torch_model, ours):
    """Per tensor, the gradient of the summed loss over three examples packed in one row."""
    examples = [EXAMPLES[name] for name in ("image", "two videos", "image and video")]
    total = 0.0
    for parts in examples:
        inputs = hf_inputs(ours[0], parts)
        logits = torch_model(**inputs).logits[0, :-1]
        targets = inputs["input_ids"][0, 1:]
        loss = torch.nn.functional.cross_entropy(logits, targets, reduction="sum")
        loss.backward()
        total += loss.item()
    expected = {name: p.grad.numpy() for name, p in torch_model.named_parameters()}

    config = our_config(remat="full")
    graphdef, _ = nnx.split(qwen3_vl.model(config, rngs=nnx.Rngs(0)))

    @jax.jit
    @jax.value_and_grad
    def loss(params, arrays):
        model = nnx.merge(graphdef, params)
        hidden = model.hidden_states(arrays)
        sums = token_loss(
            model.output_kernel(), hidden, arrays["targets"], arrays["loss_weights"], 64
        )
        return sums.loss

    arrays = _arrays(config, examples)
    value, gradients = loss(ours[2], arrays)
    np.testing.assert_allclose(value, total, rtol=1e-5)
    found = params_to_hf(qwen3_vl, config, gradients)
    assert found.keys() == expected.keys()
    for name, reference in expected.items():
        error = np.linalg.norm(found[name] - reference) / np.linalg.norm(reference)
        # A key's bias moves all scores of a row alike: its true gradient nearly vanishes.
        weak = np.linalg.norm(reference) < 1e-3 * np.sqrt(reference.size)
        assert error < 1e-3 or weak, f"{name}: {error:.1e}"


def test_bfloat16_is_as_close_as_transformers_bfloat16(torch_model, ours):
    """Against the float32 logits, ours may be off by 1.2 times what transformers' bfloat16 is."""
    config, _, params = ours
    parts = EXAMPLES["image and video"]
    exact = hf_logits(torch_model, config, parts)
    theirs = hf_logits(hf_model().to(torch.bfloat16), config, parts)
    half = dataclasses.replace(config, dtype="bfloat16")
    graphdef, _ = nnx.split(qwen3_vl.model(half, rngs=nnx.Rngs(0)))
    hidden, found = hidden_and_logits(graphdef, params, _arrays(config, [parts]))
    assert hidden.dtype == jnp.bfloat16
    found = np.asarray(found)[0, : len(exact)]
    assert np.linalg.norm(found - exact) < 1.2 * np.linalg.norm(theirs - exact)
    assert np.linalg.norm(found - exact) < 0.03 * np.linalg.norm(exact)


def test_tied_embeddings():
    torch_model = hf_model(tie_word_embeddings=True)
    config = our_config()
    tied_text = dataclasses.replace(config.text, tie_word_embeddings=True)
    config = dataclasses.replace(config, text=tied_text)
    tensors = named_tensors(torch_model)
    assert "lm_head.weight" in tensors
    params = params_from_hf(qwen3_vl, config, tensors)
    assert "lm_head.weight" not in params_to_hf(qwen3_vl, config, params)
    graphdef, _ = nnx.split(qwen3_vl.model(config, rngs=nnx.Rngs(0)))
    parts = EXAMPLES["text"]
    arrays = _arrays(config, [parts])
    fields = ("tokens", "positions", "segment_ids")
    _, logits = hidden_and_logits(graphdef, params, {name: arrays[name] for name in fields})
    expected = hf_logits(torch_model, config, parts)
    np.testing.assert_allclose(logits[0, : len(expected)], expected, atol=2e-4)


def test_weights_round_trip_in_every_key_layout(torch_model, ours):
    config, _, params = ours
    expected = named_tensors(torch_model)
    assert "model.visual.deepstack_merger_list.1.norm.weight" in expected
    for layout in ("released", "nested"):
        written = params_to_hf(qwen3_vl, config, params, layout=layout)
        assert written.keys() == expected.keys()
        for name, value in written.items():
            np.testing.assert_array_equal(value, expected[name])
    headless = {name.removeprefix("model."): value for name, value in expected.items()}
    flat = {name.replace("language_model.", "model."): value for name, value in headless.items()}
    assert {"visual.pos_embed.weight", "model.norm.weight", "lm_head.weight"} <= flat.keys()
    for tensors in (expected, headless, flat):
        again = params_from_hf(qwen3_vl, config, tensors)
        jax.tree.map(np.testing.assert_array_equal, again, params)


def test_config_is_read_by_transformers():
    config = our_config()
    written = qwen3_vl.to_hf(config)
    assert qwen3_vl.from_hf(written, dtype="float32", remat="none") == config
    theirs = Qwen3VLConfig(**copy.deepcopy(written)).to_dict()
    expected = Qwen3VLConfig(**copy.deepcopy(HF_CONFIG)).to_dict()
    changed = {
        (part, key)
        for part in ("text_config", "vision_config")
        for key, value in expected[part].items()
        if theirs[part].get(key) != value
    }
    assert not changed
    assert {key: theirs[key] for key in HF_CONFIG if key.endswith("_id")} == {
        key: expected[key] for key in HF_CONFIG if key.endswith("_id")
    }


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("", {"model_type": "qwen2_5_vl"}, "'qwen2_5_vl' is not qwen3_vl or qwen3_vl_moe"),
        ("text_config", {"rope_parameters": {}}, "no rope_theta"),
        ("text_config", {"rope_scaling": {"mrope_interleaved": False}}, "mrope_interleaved"),
        ("text_config", {"rope_scaling": {"type": "yarn"}}, "factor of rope type 'yarn' is None"),
        ("text_config", {"rope_scaling": {"rope_type": "dynamic"}}, "rope type 'dynamic'"),
        ("text_config", {"tie_word_embeddings": True}, "false on top and true in text_config"),
        ("vision_config", {"spatial_merge_size": 3}, r"spatial_merge_size\) 3 is not supported"),
        ("text_config", {"num_hidden_layers": 1}, "2 deepstack_layers"),
        ("vision_config", {"out_hidden_size": 99}, "out_hidden_size 99 differs"),
        ("vision_config", {"num_position_embeddings": 65}, "65 is not a square"),
        ("vision_config", {"deepstack_visual_indexes": [3, 1]}, r"deepstack_layers \(3, 1\)"),
    ],
)
def test_configs_that_are_not_computed_here(part, change, message):
    config = copy.deepcopy(HF_CONFIG)
    rope = config["text_config"].pop("rope_parameters")
    config["text_config"] |= {"rope_scaling": rope, "rope_theta": rope.pop("rope_theta")}
    assert qwen3_vl.from_hf(config) == qwen3_vl.from_hf(HF_CONFIG)
    if "rope_parameters" in change:
        del config["text_config"]["rope_theta"]
    where = config[part] if part else config
    if change.get("rope_scaling", {}).get("type"):
        del rope["rope_type"]
    for key, value in change.items():
        where[key] = {**where.get(key, {}), **value} if isinstance(value, dict) else value
    with pytest.raises(ValueError, match=message):
        qwen3_vl.from_hf(config)


def test_yarn():
    """As released configs for long videos have it, past the length before stretching."""
    hf_config = copy.deepcopy(HF_CONFIG)
    rope = hf_config["text_config"]["rope_parameters"]
    hf_config["text_config"]["rope_parameters"] = {
        **rope,
        **{"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 40},
    }
    torch_model = hf_model(text_config=hf_config["text_config"])
    config = qwen3_vl.from_hf(hf_config, dtype="float32", remat="none")
    assert qwen3_vl.from_hf(qwen3_vl.to_hf(config), dtype="float32", remat="none") == config
    tensors = named_tensors(torch_model)
    params = params_from_hf(qwen3_vl, config, tensors)
    graphdef = nnx.split(qwen3_vl.model(config, rngs=nnx.Rngs(0)))[0]
    rng = np.random.default_rng(1)
    long = [random_text(rng, 50), *EXAMPLES["two videos"], *EXAMPLES["image and video"]]
    assert np.max(example_tokens(config, long)[1]) > 100
    found = np.asarray(hidden_and_logits(graphdef, params, _arrays(config, [long]))[1])[0]
    expected = hf_logits(torch_model, config, long)
    np.testing.assert_allclose(found[: len(expected)], expected, atol=2e-4)
    # And it is not what a model without it computes.
    plain = nnx.split(qwen3_vl.model(our_config(), rngs=nnx.Rngs(0)))[0]
    other = np.asarray(hidden_and_logits(plain, params, _arrays(config, [long]))[1])[0]
    assert abs(other[: len(expected)] - expected).max() > 0.1


def test_media_are_different(run, ours):
    """The oracle's examples would not notice a tower that ignores its input; this one does."""
    config = ours[0]
    parts = EXAMPLES["image"]
    other = [
        dataclasses.replace(part, patches=255 - part.patches) if isinstance(part, Media) else part
        for part in parts
    ]
    a, b = (run(_arrays(config, [each])) for each in (parts, other))
    assert abs(a[0, 39] - b[0, 39]).max() > 0.1


def test_greedy_generation(torch_model, ours):
    """32 tokens after videos, images and both, in one batch with unequal prompts."""
    config, graphdef, params = ours
    examples = [EXAMPLES[name] for name in ("two videos", "image", "several turns")]
    arrays = packed_arrays(config, [[parts] for parts in examples], LENGTH, PATCHES)
    lengths = [len(example_tokens(config, parts)[0]) for parts in examples]
    banned = config.media_token_ids
    found = generate(graphdef, params, arrays, np.array(lengths), Decoding(32, (), banned, 0))
    for row, parts in enumerate(examples):
        expected = greedy(torch_model, hf_inputs(config, parts), 32, banned)
        assert len(expected) == 32 and len(set(expected)) > 4
        assert found.tokens[row].tolist() == expected
