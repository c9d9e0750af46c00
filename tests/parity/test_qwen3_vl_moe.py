"""Qwen3-VL with experts against transformers', with the same random weights, on the CPU."""

import copy
import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForImageTextToText
from transformers.models.qwen3_vl_moe.modeling_qwen3_vl_moe import load_balancing_loss_func

from tests.parity.qwen3_reference import (
    EXPERTS_CONFIG,
    example_tokens,
    hf_inputs,
    hf_model,
    named_tensors,
    our_config,
    packed_arrays,
)
from tests.parity.reference import greedy
from tests.parity.test_qwen3_vl import EXAMPLES
from tests.vsft_jax.inference.one_prompt import generate
from vsft_jax.huggingface.tensors import params_from_hf, params_to_hf
from vsft_jax.inference import Decoding
from vsft_jax.models.qwen3_vl import FAMILY as qwen3_vl
from vsft_jax.models.shared.experts import balance
from vsft_jax.train.loss import token_loss

ROWS, LENGTH, PATCHES, COEF = 2, 224, 512, 0.3


@pytest.fixture(scope="module")
def torch_model():
    return hf_model(EXPERTS_CONFIG)


@pytest.fixture(scope="module")
def ours(torch_model):
    """Config, graphdef and parameters with transformers' weights."""
    config = our_config(EXPERTS_CONFIG)
    return config, _graphdef(config), params_from_hf(qwen3_vl, config, named_tensors(torch_model))


def _graphdef(config):
    return nnx.graphdef(nnx.eval_shape(lambda: qwen3_vl.model(config, rngs=nnx.Rngs(0))))


def _arrays(config, *rows):
    return packed_arrays(config, [*rows, *[()] * (ROWS - len(rows))], LENGTH, PATCHES)


@functools.partial(jax.jit, static_argnums=0)
def _run(graphdef, params, arrays):
    """Hidden states, logits, and the load of the experts."""
    model = nnx.merge(graphdef, params)
    hidden, load = model.states_and_load(arrays)
    return hidden, model.unembed(hidden), load


def _theirs(torch_model, config, parts):
    with torch.no_grad():
        return torch_model(**hf_inputs(config, parts), output_router_logits=True)


@pytest.mark.parametrize("name", EXAMPLES)
def test_logits_and_router_loss(name, torch_model, ours):
    config, graphdef, params = ours
    _, logits, load = _run(graphdef, params, _arrays(config, [EXAMPLES[name]]))
    theirs = _theirs(torch_model, config, EXAMPLES[name])
    expected = theirs.logits[0].numpy()
    assert expected.std() > 0.5
    np.testing.assert_allclose(logits[0, : len(expected)], expected, atol=2e-4)
    # Padding is neither counted nor sent anywhere.
    np.testing.assert_array_equal(load.counts.sum((1, 2)), 3 * len(expected))
    np.testing.assert_allclose(load.chances.sum((1, 2)), len(expected), rtol=1e-5)
    np.testing.assert_allclose(balance(load, 3).loss, theirs.aux_loss, rtol=1e-5)
    assert 1 < balance(load, 3).busiest < 7 / 3


def test_packed_rows_equal_each_example_alone(torch_model, ours):
    config, graphdef, params = ours
    rows = [["video", "text", "several images"], ["image and video", "two videos"]]
    rows = [[EXAMPLES[name] for name in row] for row in rows]
    found = np.asarray(_run(graphdef, params, _arrays(config, *rows))[1])
    assert np.isfinite(found).all()
    for row, logits in zip(rows, found, strict=True):
        start = 0
        for parts in row:
            expected = _theirs(torch_model, config, parts).logits[0].numpy()
            end = start + len(expected)
            np.testing.assert_allclose(logits[start:end], expected, atol=2e-4)
            start = end


def test_greedy_generation(torch_model, ours):
    config, graphdef, params = ours
    examples = [EXAMPLES[name] for name in ("video", "several images", "image and video")]
    arrays = packed_arrays(config, [[parts] for parts in examples], LENGTH, PATCHES)
    lengths = [len(example_tokens(config, parts)[0]) for parts in examples]
    banned = config.media_token_ids
    found = generate(graphdef, params, arrays, np.array(lengths), Decoding(32, (), banned, 0))
    for row, parts in enumerate(examples):
        expected = greedy(torch_model, hf_inputs(config, parts), 32, banned)
        assert found.tokens[row].tolist() == expected
    assert len(set(np.ravel(found.tokens).tolist())) > 4


def test_gradients(torch_model, ours):
    """Per tensor, of the summed loss and the routers' of three examples packed in one row."""
    config, graphdef, params = ours
    examples = [EXAMPLES[name] for name in ("image", "two videos", "image and video")]
    total, gates = 0.0, []
    torch_model.zero_grad()
    for parts in examples:
        inputs = hf_inputs(config, parts)
        out = torch_model(**inputs, output_router_logits=True)
        logits, targets = out.logits[0, :-1], inputs["input_ids"][0, 1:]
        total = total + torch.nn.functional.cross_entropy(logits, targets, reduction="sum")
        gates.append(out.router_logits)
    of_all = tuple(torch.cat(layer) for layer in zip(*gates, strict=True))
    total = total + COEF * load_balancing_loss_func(of_all, 7, 3)
    total.backward()
    expected = {name: p.grad.numpy() for name, p in torch_model.named_parameters()}

    rematted = _graphdef(dataclasses.replace(config, remat="full"))

    @jax.jit
    @jax.value_and_grad
    def loss(params, arrays):
        model = nnx.merge(rematted, params)
        hidden, load = model.states_and_load(arrays)
        wanted = arrays["targets"], arrays["loss_weights"]
        sums = token_loss(model.output_kernel(), hidden, *wanted, 64)
        return sums.loss + COEF * balance(load, 3).loss

    value, gradients = loss(params, _arrays(config, examples))
    np.testing.assert_allclose(value, total.item(), rtol=1e-5)
    found = params_to_hf(qwen3_vl, config, gradients)
    assert found.keys() == expected.keys()
    for name, reference in expected.items():
        ours_there = found[name]
        if ours_there.shape != reference.shape:  # experts, as released
            ours_there = ours_there.swapaxes(1, 2)
        error = np.linalg.norm(ours_there - reference) / np.linalg.norm(reference)
        weak = np.linalg.norm(reference) < 1e-3 * np.sqrt(reference.size)
        assert error < 1e-3 or weak, f"{name}: {error:.1e}"


def test_bfloat16_is_as_close_as_transformers_bfloat16(torch_model, ours):
    config, _, params = ours
    parts = EXAMPLES["image and video"]
    exact = _theirs(torch_model, config, parts).logits[0].numpy()
    half = _theirs(hf_model(EXPERTS_CONFIG).to(torch.bfloat16), config, parts)
    theirs = half.logits[0].float().numpy()
    graphdef = _graphdef(dataclasses.replace(config, dtype="bfloat16"))
    hidden, found, _ = _run(graphdef, params, _arrays(config, [parts]))
    assert hidden.dtype == jnp.bfloat16
    found = np.asarray(found)[0, : len(exact)]
    # Where two experts are nearly as likely, rounding decides: that is most of the error.
    assert np.linalg.norm(found - exact) < 1.2 * np.linalg.norm(theirs - exact)


@pytest.mark.parametrize("mlp_width", [24, 32, 64])
def test_weights_round_trip_however_experts_lie(mlp_width, tmp_path):
    """As released, [E, inputs, outputs]; as transformers 5 writes it, the other way round. Of a
    matrix with sides alike (here gate and up side by side, or down) it takes only the latter."""
    numbers = copy.deepcopy(EXPERTS_CONFIG)
    numbers["text_config"]["moe_intermediate_size"] = mlp_width
    numbers["text_config"]["num_hidden_layers"] = 2
    torch_model, config = hf_model(numbers), our_config(numbers)
    theirs = named_tensors(torch_model)
    params = params_from_hf(qwen3_vl, config, theirs)
    written = params_to_hf(qwen3_vl, config, params)
    for name, value in written.items():
        as_released = ".experts." in name and len(set(value.shape[1:])) == 2
        value = value.swapaxes(1, 2) if as_released else value
        np.testing.assert_array_equal(value, theirs[name], err_msg=name)
    jax.tree.map(np.testing.assert_array_equal, params_from_hf(qwen3_vl, config, written), params)
    headless = {name.removeprefix("model."): value for name, value in written.items()}
    again = params_from_hf(qwen3_vl, config, headless)
    jax.tree.map(np.testing.assert_array_equal, again, params)
    # And transformers reads it, from files.
    torch_model.config.save_pretrained(tmp_path)
    tensors = {name: torch.tensor(value) for name, value in written.items()}
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    loaded = AutoModelForImageTextToText.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(loaded[1].values())
    for name, value in loaded[0].state_dict().items():
        np.testing.assert_array_equal(value.numpy(), theirs[name], err_msg=name)


def test_tensors_of_another_shape_are_named(torch_model, ours):
    name = "model.language_model.layers.1.mlp.experts.down_proj"
    tensors = named_tensors(torch_model)
    tensors[name] = tensors[name][:, :-1]
    with pytest.raises(ValueError, match=r"layers.1.mlp.experts.down_proj is \(7, 63, 24\)"):
        params_from_hf(qwen3_vl, ours[0], tensors)


def test_config_is_read_by_transformers():
    config = our_config(EXPERTS_CONFIG)
    written = qwen3_vl.to_hf(config)
    assert qwen3_vl.from_hf(written, dtype="float32", remat="none") == config
    theirs, expected = (
        AutoConfig.for_model(**copy.deepcopy(numbers)).to_dict()
        for numbers in (written, EXPERTS_CONFIG)
    )
    changed = {
        (part, key)
        for part in ("text_config", "vision_config")
        for key, value in expected[part].items()
        if theirs[part].get(key) != value
    }
    # What no layer has, and what decides nothing below the top.
    assert changed <= {("text_config", "intermediate_size"), ("text_config", "tie_word_embeddings")}
    # What transformers writes, with another name for the number of experts.
    assert qwen3_vl.from_hf(theirs, dtype="float32", remat="none") == config
    assert "num_local_experts" in theirs["text_config"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"decoder_sparse_step": 2}, "decoder_sparse_step is 2, only 1 is supported"),
        ({"mlp_only_layers": [0]}, r"mlp_only_layers is \[0\], only \[\] is supported"),
        ({"norm_topk_prob": False}, "norm_topk_prob is False, only True is supported"),
        ({"num_experts": 0}, "num_experts is 0"),
        ({"num_experts_per_tok": 8}, "experts_per_token 8 must be 1 … experts 7"),
    ],
)
def test_configs_that_are_not_computed_here(change, message):
    numbers = copy.deepcopy(EXPERTS_CONFIG)
    numbers["text_config"] |= change
    with pytest.raises(ValueError, match=message):
        qwen3_vl.from_hf(numbers)
