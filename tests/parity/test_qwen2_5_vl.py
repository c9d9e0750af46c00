"""Our Qwen2.5-VL against transformers', with the same random weights, in float32 on the CPU."""

import copy
import dataclasses
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from transformers import Qwen2_5_VLConfig

from tests.parity.reference import (
    HF_CONFIG,
    Media,
    Text,
    example_tokens,
    greedy,
    hf_inputs,
    hf_model,
    media_patches,
    our_config,
    packed_arrays,
    random_media,
    random_text,
)
from tests.vsft_jax.inference.one_prompt import generate
from vsft_jax.huggingface.tensors import params_from_hf, params_to_hf
from vsft_jax.inference import Decoding, LoadedModel, log_likelihoods
from vsft_jax.models.qwen2_5_vl import FAMILY as qwen2_5_vl
from vsft_jax.models.qwen2_5_vl.model import Qwen2_5VL
from vsft_jax.sharding import make_mesh
from vsft_jax.train.loss import token_loss

LENGTH, PATCHES = 112, 320


def _examples():
    """Grids (t, h, w) in patches; a window is 8 x 8, so 6, 10 and 12 leave partial windows."""
    rng = np.random.default_rng(0)
    text = lambda count: random_text(rng, count)  # noqa: E731
    video = lambda grid, seconds: random_media(rng, "video", grid, seconds)  # noqa: E731
    image = lambda grid: random_media(rng, "image", grid)  # noqa: E731
    return {
        "text": [text(20)],
        "image": [text(4), image((1, 10, 12)), text(6)],
        "image of whole windows": [text(4), image((1, 8, 16)), text(6)],
        "two images": [text(3), image((1, 6, 10)), text(2), image((1, 12, 4)), text(7)],
        # Temporal ids 0, 1, 3, 4: not what whole seconds would give.
        "video": [text(5), video((4, 6, 10), 0.75), text(8)],
        "image and video": [text(3), video((3, 4, 6), 3.7), text(4), image((1, 10, 6)), text(5)],
        "image and short video": [text(2), image((1, 4, 8)), video((2, 4, 6), 1.3), text(5)],
        "two videos, several turns": [
            *(text(3), video((3, 6, 4), 0.75), text(6)),
            *(video((2, 4, 10), 2.3), text(4), image((1, 4, 4)), text(5)),
        ],
    }


EXAMPLES = _examples()


@pytest.fixture(scope="module")
def torch_model():
    return hf_model()


@pytest.fixture(scope="module")
def ours(torch_model):
    """Config, graphdef and parameters with transformers' weights."""
    config = our_config()
    tensors = {name: value.numpy() for name, value in torch_model.state_dict().items()}
    params = params_from_hf(qwen2_5_vl, config, tensors)
    graphdef, own = nnx.split(Qwen2_5VL(config, rngs=nnx.Rngs(0)))
    assert jax.tree.structure(params) == jax.tree.structure(own)
    return config, graphdef, params


@pytest.fixture(scope="module")
def run(ours):
    """arrays -> logits, compiled once for all examples (they have the same shapes)."""
    _, graphdef, params = ours

    @jax.jit
    def logits(params, arrays):
        model = nnx.merge(graphdef, params)
        return model.unembed(model.hidden_states(arrays))

    return lambda arrays: np.asarray(logits(params, arrays))


def _hf_logits(torch_model, config, parts):
    with torch.no_grad():
        return torch_model(**hf_inputs(config, parts)).logits[0].numpy()


@pytest.mark.parametrize("name", EXAMPLES)
def test_logits(name, torch_model, ours, run):
    config = ours[0]
    arrays = packed_arrays(config, [[EXAMPLES[name]]], LENGTH, PATCHES)
    expected = _hf_logits(torch_model, config, EXAMPLES[name])
    assert expected.std() > 0.5  # logits that say something
    np.testing.assert_allclose(run(arrays)[0, : len(expected)], expected, atol=2e-4)


def test_log_likelihoods_of_texts(torch_model, ours):
    """Texts that share rows, and one that is cut, against transformers a window at a time."""
    config, graphdef, params = ours
    model = LoadedModel(
        graphdef=graphdef,
        params=params,
        mesh=make_mesh({"fsdp": -1}),
        tokenizer=SimpleNamespace(begin_id=7),
        frame_policy=None,
        step=0,
        trained_config={},
        source=Path(),
    )
    rng = np.random.default_rng(5)
    texts = [np.array(random_text(rng, length).ids) for length in (5, 47, 20, 1, 11)]
    found = log_likelihoods(model, texts, window=20, batch_rows=8)
    for text, logprobs in zip(texts, found, strict=True):
        expected = []
        for start in range(0, len(text), 20):
            told = text[start : start + 20]
            seen = [7 if start == 0 else text[start - 1], *told[:-1]]
            logits = _hf_logits(torch_model, config, [Text(tuple(map(int, seen)))]).astype(float)
            for row, token in zip(logits, told, strict=True):
                expected.append(row[token] - np.log(np.exp(row - row.max()).sum()) - row.max())
        np.testing.assert_allclose(logprobs, expected, atol=2e-4)


@pytest.mark.parametrize("more", [{}, {"beta_fast": 4, "attention_factor": 1.5}])
def test_yarn(more):
    """As the released models' page describes it for long videos: positions past the length that
    they were trained on."""
    rope = {
        "type": "yarn",
        "mrope_section": [2, 3, 3],
        "factor": 4.0,
        "original_max_position_embeddings": 40,
        **more,
    }
    text = {key: v for key, v in HF_CONFIG["text_config"].items() if key != "rope_parameters"}
    text |= {"rope_scaling": rope, "rope_theta": 10000.0}
    written = {**HF_CONFIG, "text_config": text}
    config = qwen2_5_vl.from_hf(written, dtype="float32", remat="none")
    back = qwen2_5_vl.to_hf(config)
    assert qwen2_5_vl.from_hf(back, dtype="float32", remat="none") == config
    torch_model = hf_model(rope_parameters={**rope, "rope_type": "yarn", "rope_theta": 10000.0})
    read = Qwen2_5_VLConfig(**copy.deepcopy(back)).text_config.rope_parameters
    assert read["rope_type"] == "yarn" and read["factor"] == 4
    tensors = {name: value.numpy() for name, value in torch_model.state_dict().items()}
    params = params_from_hf(qwen2_5_vl, config, tensors)
    rng = np.random.default_rng(1)
    video, both = EXAMPLES["video"], EXAMPLES["image and short video"]
    long = [random_text(rng, 20), *video, random_text(rng, 10), *both]
    assert np.max(example_tokens(config, long)[1]) > 50
    arrays = packed_arrays(config, [[long]], 160, 384)
    expected = _hf_logits(torch_model, config, long)
    found = []
    for each in (config, our_config()):
        model = nnx.merge(nnx.split(Qwen2_5VL(each, rngs=nnx.Rngs(0)))[0], params)
        logits = model.unembed(model.hidden_states(jax.tree.map(jnp.asarray, arrays)))
        found.append(np.asarray(logits)[0, : len(expected)])
    np.testing.assert_allclose(found[0], expected, atol=2e-4)
    assert abs(found[1] - expected).max() > 0.1  # not what a model without it computes


def test_bfloat16(torch_model, ours):
    """Computing in bfloat16 changes the logits by about a hundredth of their spread."""
    config, _, params = ours
    config = dataclasses.replace(config, dtype="bfloat16")
    model = nnx.merge(nnx.split(Qwen2_5VL(config, rngs=nnx.Rngs(0)))[0], params)
    arrays = packed_arrays(config, [[EXAMPLES["image and video"]]], LENGTH, PATCHES)
    logits = model.unembed(model.hidden_states(jax.tree.map(jnp.asarray, arrays)))[0]
    expected = _hf_logits(torch_model, config, EXAMPLES["image and video"])
    error = np.asarray(logits)[: len(expected)] - expected
    assert error.std() < 0.03 * expected.std()


def test_packed_rows_equal_each_example_alone(torch_model, ours, run):
    config = ours[0]
    rows = [["video", "text", "two images"], ["image and video", "image"]]
    rows = [[EXAMPLES[name] for name in row] for row in rows]
    found = run(packed_arrays(config, rows, 160, 512))
    assert np.isfinite(found).all()
    for row, logits in zip(rows, found, strict=True):
        start = 0
        for parts in row:
            expected = _hf_logits(torch_model, config, parts)
            end = start + len(expected)
            np.testing.assert_allclose(logits[start:end], expected, atol=2e-4)
            start = end


def test_positions_agree_with_get_rope_index(torch_model, ours):
    """Where a video's last temporal id is below its height or width: after longer ones, some
    versions of transformers let the text go on from max(height, width) instead of the maximum
    over all axes, which is what the model was trained with."""
    config = ours[0]
    for name in ("video", "two images", "image and short video"):
        inputs = hf_inputs(config, EXAMPLES[name], positions=False)
        keys = ("image_grid_thw", "video_grid_thw", "second_per_grid_ts", "mm_token_type_ids")
        given = {key: inputs[key] for key in keys if key in inputs}
        expected, _ = torch_model.model.get_rope_index(inputs["input_ids"], **given)
        _, positions, _ = example_tokens(config, EXAMPLES[name])
        np.testing.assert_array_equal(np.array(positions).T, expected[:, 0].numpy())
    times = sorted({p[0] for p in example_tokens(config, EXAMPLES["video"])[1][5:-8]})
    assert [time - times[0] for time in times] == [0, 1, 3, 4]


def test_window_order_agrees_with_get_window_index():
    from transformers.vision_utils import get_vision_window_index

    rng = np.random.default_rng(0)
    for grid in ((1, 10, 12), (3, 8, 16), (2, 4, 18), (1, 26, 2)):
        media = random_media(rng, "video", grid)
        index, ends = get_vision_window_index(torch.tensor([grid]), 2, 112, 14)
        patches, places = media_patches(media)
        values = media.patches.reshape(-1, 4, 1176)[index.numpy()].reshape(-1, 1176)
        np.testing.assert_array_equal(np.stack([patch[0] for patch in patches]), values)
        np.testing.assert_array_equal(places, np.argsort(index.numpy()))
        windows = [patch[3] for patch in patches]
        changes = [i for i in range(1, len(windows)) if windows[i] != windows[i - 1]]
        assert [0, *changes, len(windows)] == ends.tolist()


@pytest.mark.parametrize("remat", ["none", "full"])
def test_gradients(torch_model, ours, remat):
    """Per tensor, the gradient of the summed loss over three examples packed in one row."""
    config = our_config(remat=remat)
    graphdef, _ = nnx.split(Qwen2_5VL(config, rngs=nnx.Rngs(0)))
    params = ours[2]
    examples = [EXAMPLES[name] for name in ("image", "video", "image and video")]

    torch_model.zero_grad()
    total = 0.0
    for parts in examples:
        inputs = hf_inputs(config, parts)
        logits = torch_model(**inputs).logits[0, :-1]
        loss = torch.nn.functional.cross_entropy(
            logits, inputs["input_ids"][0, 1:], reduction="sum"
        )
        loss.backward()
        total += loss.item()
    expected = {name: p.grad.numpy() for name, p in torch_model.named_parameters()}

    @jax.jit
    @jax.value_and_grad
    def loss(params, arrays):
        model = nnx.merge(graphdef, params)
        hidden = model.hidden_states(arrays)
        sums = token_loss(
            model.output_kernel(), hidden, arrays["targets"], arrays["loss_weights"], 64
        )
        return sums.loss

    arrays = packed_arrays(config, [examples], 192, 512)
    value, gradients = loss(params, arrays)
    np.testing.assert_allclose(value, total, rtol=1e-5)
    found = params_to_hf(qwen2_5_vl, config, gradients, layout="nested")
    assert found.keys() == expected.keys()
    for name, reference in expected.items():
        error = np.linalg.norm(found[name] - reference) / np.linalg.norm(reference)
        # A key's bias moves all scores of a row alike: its true gradient nearly vanishes.
        weak = np.linalg.norm(reference) < 1e-3 * np.sqrt(reference.size)
        assert error < 1e-3 or weak, f"{name}: {error:.1e}"


def test_tied_embeddings():
    torch_model = hf_model(tie_word_embeddings=True)
    config = our_config()
    tied_text = dataclasses.replace(config.text, tie_word_embeddings=True)
    config = dataclasses.replace(config, text=tied_text)
    tensors = {name: value.numpy() for name, value in torch_model.state_dict().items()}
    assert "lm_head.weight" in tensors
    params = params_from_hf(qwen2_5_vl, config, tensors)
    model = nnx.merge(nnx.split(Qwen2_5VL(config, rngs=nnx.Rngs(0)))[0], params)
    parts = EXAMPLES["image"]
    arrays = packed_arrays(config, [[parts]], LENGTH, PATCHES)
    logits = model.unembed(model.hidden_states(jax.tree.map(jnp.asarray, arrays)))
    expected = _hf_logits(torch_model, config, parts)
    np.testing.assert_allclose(logits[0, : len(expected)], expected, atol=2e-4)
    assert "lm_head.weight" not in params_to_hf(qwen2_5_vl, config, params)


def test_released_layout_round_trip(torch_model, ours):
    config, _, params = ours
    released = params_to_hf(qwen2_5_vl, config, params, layout="released")
    assert {"visual.blocks.3.attn.qkv.weight", "model.layers.2.mlp.up_proj.weight"} <= set(released)
    again = params_from_hf(qwen2_5_vl, config, released)
    jax.tree.map(np.testing.assert_array_equal, again, params)
    nested = params_to_hf(qwen2_5_vl, config, params, layout="nested")
    expected = {name: value.numpy() for name, value in torch_model.state_dict().items()}
    assert nested.keys() == expected.keys()
    for name, value in nested.items():
        np.testing.assert_array_equal(value, expected[name])


def test_misfitting_checkpoint_is_one_error(ours):
    config, _, params = ours
    tensors = params_to_hf(qwen2_5_vl, config, params)
    del tensors["model.norm.weight"]
    tensors["visual.merger.mlp.0.bias"] = np.zeros(3, np.float32)
    tensors["visual.extra.weight"] = np.zeros(3, np.float32)
    with pytest.raises(ValueError) as error:
        params_from_hf(qwen2_5_vl, config, tensors)
    message = str(error.value)
    assert "missing: model.language_model.norm.weight" in message
    assert "shape of visual.merger.mlp.0.bias is (3,), the config needs (128,)" in message
    assert "unknown: visual.extra.weight" in message


def test_media_are_different(run, ours):
    """The oracle's examples would not notice a tower that ignores its input; this one does."""
    config = ours[0]
    parts = EXAMPLES["image"]
    other = [
        Media(p.kind, p.grid, 255 - p.patches, p.second_per_grid) if isinstance(p, Media) else p
        for p in parts
    ]
    a, b = (run(packed_arrays(config, [[each]], LENGTH, PATCHES)) for each in (parts, other))
    assert abs(a[0, 39] - b[0, 39]).max() > 0.1


def test_greedy_generation(torch_model, ours):
    """32 tokens after a video, an image and a text, in one batch with unequal prompts."""
    config, graphdef, params = ours
    examples = [EXAMPLES[name] for name in ("video", "two images", "text")]
    arrays = packed_arrays(config, [[parts] for parts in examples], LENGTH, PATCHES)
    lengths = [len(example_tokens(config, parts)[0]) for parts in examples]
    banned = config.media_token_ids
    found = generate(graphdef, params, arrays, np.array(lengths), Decoding(32, (), banned, 0))
    for row, parts in enumerate(examples):
        expected = greedy(torch_model, hf_inputs(config, parts, positions=False), 32, banned)
        assert len(expected) == 32 and len(set(expected)) > 4
        assert found.tokens[row].tolist() == expected
