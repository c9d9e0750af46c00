"""Our Qwen3.5 against transformers', with the same random weights, on the CPU."""

import copy
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForImageTextToText, Qwen3_5Config
from transformers.models.qwen3_5_moe.modeling_qwen3_5_moe import load_balancing_loss_func

from tests.parity.qwen3_5_reference import EXPERTS_CONFIG, HF_CONFIG, hf_model, our_config
from tests.parity.qwen3_reference import (
    example_tokens,
    hf_inputs,
    hf_logits,
    hidden_and_logits,
    named_tensors,
    packed_arrays,
)
from tests.parity.reference import greedy, random_text
from tests.parity.test_qwen3_vl import EXAMPLES
from tests.vsft_jax.inference.one_prompt import generate
from vsft_jax.huggingface import load_params
from vsft_jax.huggingface.tensors import params_from_hf, params_to_hf
from vsft_jax.inference import Decoding
from vsft_jax.lora import ModelBuilder
from vsft_jax.models.qwen3_5 import FAMILY as qwen3_5
from vsft_jax.models.shared.experts import balance
from vsft_jax.sharding import abstract_model, make_mesh
from vsft_jax.train.loss import token_loss

ROWS, LENGTH, PATCHES, COEF = 2, 224, 512, 0.3


@pytest.fixture(scope="module", params=["dense", "experts"])
def numbers(request):
    return {"dense": HF_CONFIG, "experts": EXPERTS_CONFIG}[request.param]


@pytest.fixture(scope="module")
def torch_model(numbers):
    return hf_model(numbers)


@pytest.fixture(scope="module")
def ours(torch_model, numbers):
    """Config, graphdef and parameters with transformers' weights."""
    config = our_config(numbers)
    return config, _graphdef(config), params_from_hf(qwen3_5, config, named_tensors(torch_model))


def _graphdef(config):
    return nnx.graphdef(nnx.eval_shape(lambda: qwen3_5.model(config, rngs=nnx.Rngs(0))))


def _arrays(config, *rows):
    return packed_arrays(config, [*rows, *[()] * (ROWS - len(rows))], LENGTH, PATCHES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_logits(name, torch_model, ours):
    config, graphdef, params = ours
    logits = hidden_and_logits(graphdef, params, _arrays(config, [EXAMPLES[name]]))[1]
    expected = hf_logits(torch_model, config, EXAMPLES[name])
    assert expected.std() > 0.5  # logits that say something
    np.testing.assert_allclose(logits[0, : len(expected)], expected, atol=2e-4)


def test_packed_rows_equal_each_example_alone(torch_model, ours):
    """transformers' alone to 2e-4, our own to 1e-5 of the hidden states' size: no state or input of
    the convolution passes from text to text."""
    config, graphdef, params = ours
    rows = [["video", "text", "several images"], ["image and video", "two videos"]]
    rows = [[EXAMPLES[name] for name in row] for row in rows]
    hidden, found = map(np.asarray, hidden_and_logits(graphdef, params, _arrays(config, *rows)))
    assert np.isfinite(found).all()
    for row, states, logits in zip(rows, hidden, found, strict=True):
        start = 0
        for parts in row:
            expected = hf_logits(torch_model, config, parts)
            end = start + len(expected)
            np.testing.assert_allclose(logits[start:end], expected, atol=2e-4)
            alone, _ = hidden_and_logits(graphdef, params, _arrays(config, [parts]))
            alone = alone[0, : len(expected)]
            off = np.linalg.norm(states[start:end] - alone, axis=-1)
            assert (off < 1e-5 * np.linalg.norm(alone, axis=-1)).all()
            start = end


def test_neighbours_matter_where_they_share_a_text(ours):
    """The same tokens in one segment are another text: what separates them is their segment."""
    config, graphdef, params = ours
    arrays = _arrays(config, [EXAMPLES["text"], EXAMPLES["text"]])
    apart = hidden_and_logits(graphdef, params, arrays)[0][0, 20:40]
    arrays["segment_ids"] = np.minimum(arrays["segment_ids"], 1)
    together = hidden_and_logits(graphdef, params, arrays)[0][0, 20:40]
    assert abs(apart - together).max() > 0.1


def test_router_loss(torch_model, ours):
    """Of models with experts; padding is neither counted nor sent anywhere."""
    config, graphdef, params = ours
    parts = EXAMPLES["image and video"]
    load = nnx.merge(graphdef, params).states_and_load(_arrays(config, [parts]))[1]
    if not config.text.experts:
        assert load is None
        return
    with torch.no_grad():
        theirs = torch_model(**hf_inputs(config, parts), output_router_logits=True)
    np.testing.assert_array_equal(load.counts.sum((1, 2)), 3 * theirs.logits.shape[1])
    np.testing.assert_allclose(balance(load, 3).loss, theirs.aux_loss, rtol=1e-5)


def test_gradients(torch_model, ours):
    """Per tensor, of the summed loss over three examples packed in one row, and of the routers'."""
    config, _, params = ours
    examples = [EXAMPLES[name] for name in ("image", "two videos", "image and video")]
    experts = {"output_router_logits": True} if config.text.experts else {}
    total, gates = 0.0, []
    torch_model.zero_grad()
    for parts in examples:
        inputs = hf_inputs(config, parts)
        out = torch_model(**inputs, **experts)
        logits, targets = out.logits[0, :-1], inputs["input_ids"][0, 1:]
        total = total + torch.nn.functional.cross_entropy(logits, targets, reduction="sum")
        gates.append(out.router_logits if experts else ())
    if experts:
        of_all = tuple(torch.cat(layer) for layer in zip(*gates, strict=True))
        total = total + COEF * load_balancing_loss_func(of_all, 7, 3)
    total.backward()
    expected = {name: p.grad.numpy() for name, p in torch_model.named_parameters()}
    graphdef = _graphdef(dataclasses.replace(config, remat="full"))

    @jax.jit
    @jax.value_and_grad
    def loss(params, arrays):
        model = nnx.merge(graphdef, params)
        hidden, load = model.states_and_load(arrays)
        wanted = arrays["targets"], arrays["loss_weights"]
        sums = token_loss(model.output_kernel(), hidden, *wanted, 64)
        return sums.loss + (COEF * balance(load, 3).loss if experts else 0)

    value, gradients = loss(params, _arrays(config, examples))
    np.testing.assert_allclose(value, total.item(), rtol=1e-5)
    found = params_to_hf(qwen3_5, config, gradients)
    assert found.keys() == expected.keys()
    for name, reference in expected.items():
        error = np.linalg.norm(found[name] - reference) / np.linalg.norm(reference)
        # A key's bias moves all scores of a row alike: its true gradient nearly vanishes.
        weak = np.linalg.norm(reference) < 1e-3 * np.sqrt(reference.size)
        assert error < 1e-3 or weak, f"{name}: {error:.1e}"


def test_bfloat16_is_as_close_as_transformers_bfloat16(torch_model, ours, numbers):
    """Against the float32 logits, ours may be off by 1.2 times what transformers' bfloat16 is."""
    config, _, params = ours
    theirs = hf_model(numbers).to(torch.bfloat16)
    graphdef, errors = _graphdef(dataclasses.replace(config, dtype="bfloat16")), []
    for parts in EXAMPLES.values():
        exact = hf_logits(torch_model, config, parts)
        hidden, found = hidden_and_logits(graphdef, params, _arrays(config, [parts]))
        assert hidden.dtype == jnp.bfloat16
        both = np.asarray(found)[0, : len(exact)], hf_logits(theirs, config, parts)
        errors.append([np.linalg.norm(each - exact) / np.linalg.norm(exact) for each in both])
    ours_off, theirs_off = np.mean(errors, axis=0)
    # Where two experts are nearly as likely, rounding decides.
    assert ours_off < 1.2 * theirs_off and ours_off < (0.2 if config.text.experts else 0.1)


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


def test_weights_round_trip_in_every_key_layout(torch_model, ours):
    config, _, params = ours
    expected = named_tensors(torch_model)
    assert "model.language_model.layers.0.linear_attn.conv1d.weight" in expected
    for layout in ("released", "nested"):
        written = params_to_hf(qwen3_5, config, params, layout=layout)
        assert written.keys() == expected.keys()
        for name, value in written.items():
            np.testing.assert_array_equal(value, expected[name])
    headless = {name.removeprefix("model."): value for name, value in expected.items()}
    flat = {name.replace("language_model.", "model."): value for name, value in headless.items()}
    # As released, with a layer that guesses the token after the next.
    more = expected | {"mtp.fc.weight": np.ones((64, 128)), "mtp.norm.weight": np.ones(64)}
    one_by_one = _one_by_one(expected)
    assert (one_by_one.keys() != expected.keys()) == (config.text.experts > 0)
    for tensors in (expected, headless, flat, more, one_by_one):
        again = params_from_hf(qwen3_5, config, tensors)
        jax.tree.map(np.testing.assert_array_equal, again, params)


def _one_by_one(tensors):
    """Experts as transformers saves them: one by one."""
    found = {}
    for name, value in tensors.items():
        for i, matrix in enumerate(value) if ".experts." in name else ():
            stem, part = f"{name.rpartition('.')[0]}.{i}", name.rpartition(".")[2]
            if part == "gate_up_proj":
                gate, up = np.split(matrix, 2)
                found |= {f"{stem}.gate_proj.weight": gate, f"{stem}.up_proj.weight": up}
            else:
                found[f"{stem}.{part}.weight"] = matrix
        if ".experts." not in name:
            found[name] = value
    return found


def test_what_transformers_saves_is_read(torch_model, ours, tmp_path):
    config, graphdef, params = ours
    torch_model.save_pretrained(tmp_path)
    mesh = make_mesh({"fsdp": 2, "tensor": 2, "data": 2})
    builder = ModelBuilder(qwen3_5, config)
    like = abstract_model(builder, qwen3_5.partition_rules(), mesh)[1]
    loaded = load_params(qwen3_5, config, tmp_path, like)
    jax.tree.map(np.testing.assert_array_equal, loaded, params)


def test_an_expert_that_is_missing_is_named(torch_model, ours):
    config = ours[0]
    if not config.text.experts:
        pytest.skip("no experts")
    tensors = _one_by_one(named_tensors(torch_model))
    del tensors["model.language_model.layers.1.mlp.experts.3.up_proj.weight"]
    with pytest.raises(ValueError, match=r"missing: .*layers.1.mlp.experts.gate_up_proj"):
        params_from_hf(qwen3_5, config, tensors)


def test_transformers_reads_what_is_written(torch_model, ours, tmp_path):
    config, _, params = ours
    written = AutoConfig.for_model(**qwen3_5.to_hf(config))
    written.save_pretrained(tmp_path)
    tensors = params_to_hf(qwen3_5, config, params)
    tensors = {name: torch.tensor(value) for name, value in tensors.items()}
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    again, info = AutoModelForImageTextToText.from_pretrained(
        tmp_path, output_loading_info=True, attn_implementation="eager"
    )
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    parts = EXAMPLES["image and video"]
    expected = hf_logits(torch_model, config, parts)
    np.testing.assert_allclose(hf_logits(again.eval(), config, parts), expected, atol=1e-6)


def test_tied_embeddings():
    torch_model = hf_model(tie_word_embeddings=True)
    config = our_config()
    tied_text = dataclasses.replace(config.text, tie_word_embeddings=True)
    config = dataclasses.replace(config, text=tied_text)
    params = params_from_hf(qwen3_5, config, named_tensors(torch_model))
    assert "lm_head.weight" not in params_to_hf(qwen3_5, config, params)
    parts = EXAMPLES["text"]
    found = hidden_and_logits(_graphdef(config), params, _arrays(config, [parts]))[1]
    expected = hf_logits(torch_model, config, parts)
    np.testing.assert_allclose(found[0, : len(expected)], expected, atol=2e-4)


def test_yarn():
    """Stretched beyond what the model was trained on."""
    torch_model = hf_model()
    numbers = copy.deepcopy(HF_CONFIG)
    more = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 40}
    numbers["text_config"]["rope_parameters"] |= more
    stretched = hf_model(text_config=numbers["text_config"])
    config = qwen3_5.from_hf(numbers, dtype="float32", remat="none")
    assert qwen3_5.from_hf(qwen3_5.to_hf(config), dtype="float32", remat="none") == config
    params = params_from_hf(qwen3_5, config, named_tensors(stretched))
    rng = np.random.default_rng(1)
    long = [random_text(rng, 50), *EXAMPLES["two videos"], *EXAMPLES["image and video"]]
    found = np.asarray(hidden_and_logits(_graphdef(config), params, _arrays(config, [long]))[1])[0]
    expected = hf_logits(stretched, config, long)
    np.testing.assert_allclose(found[: len(expected)], expected, atol=2e-4)
    assert abs(hf_logits(torch_model, config, long) - expected).max() > 0.1


def test_config_is_read_by_transformers(numbers):
    config = our_config(numbers)
    written = qwen3_5.to_hf(config)
    assert qwen3_5.from_hf(written, dtype="float32", remat="none") == config
    theirs, expected = (
        AutoConfig.for_model(**copy.deepcopy(each)).to_dict() for each in (written, numbers)
    )
    changed = {
        (part, key)
        for part in ("text_config", "vision_config")
        for key, value in expected[part].items()
        if theirs[part].get(key) != value
    }
    # Of models with experts; no layer has it.
    assert changed <= {("text_config", "intermediate_size")}
    ids = [key for key in HF_CONFIG if key.endswith("_id")]
    assert {key: theirs[key] for key in ids} == {key: expected[key] for key in ids}


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("", {"model_type": "qwen3_next"}, "'qwen3_next' is not qwen3_5 or qwen3_5_moe"),
        ("text_config", {"rope_parameters": {}}, "no rope_theta"),
        ("text_config", {"head_dim": None}, "text_config.head_dim is None: expected a number"),
        (
            "text_config",
            {"layer_types": None, "full_attention_interval": 0},
            "full_attention_interval is 0: expected a number from 2 to num_hidden_layers",
        ),
        (
            "text_config",
            {"layer_types": None, "full_attention_interval": 9},
            "full_attention_interval is 9: expected",
        ),
        ("text_config", {"attention_bias": True}, "attention_bias is True, only False"),
        ("text_config", {"attn_output_gate": False}, "attn_output_gate is False, only True"),
        ("text_config", {"output_gate_type": "sigmoid"}, "output_gate_type is 'sigmoid', only"),
        ("text_config", {"hidden_act": "gelu"}, "hidden_act is 'gelu', only 'silu'"),
        ("text_config", {"layer_types": ["full_attention"]}, r"num_hidden_layers \(6\), each lin"),
        ("text_config", {"layer_types": ["full_attention"] * 6}, "are all full_attention"),
        ("text_config", {"linear_num_value_heads": 3}, r"\(linear_num_value_heads\) 3 must be a"),
        ("text_config", {"linear_conv_kernel_dim": 1}, r"\(linear_conv_kernel_dim\) 1 must be 2"),
        ("text_config", {"tie_word_embeddings": True}, "false on top and true in text_config"),
        ("vision_config", {"out_hidden_size": 99}, "out_hidden_size 99 differs"),
        ("vision_config", {"num_position_embeddings": 65}, "65 is not a square"),
    ],
)
def test_configs_that_are_not_computed_here(part, change, message):
    config = copy.deepcopy(HF_CONFIG)
    (config[part] if part else config).update(change)
    with pytest.raises(ValueError, match=message):
        qwen3_5.from_hf(config)


def test_every_fourth_layer_is_full_where_nothing_is_said():
    config = copy.deepcopy(HF_CONFIG)
    del config["text_config"]["layer_types"]
    config["text_config"]["num_hidden_layers"] = 8
    theirs = Qwen3_5Config(**copy.deepcopy(config)).text_config.layer_types
    ours = qwen3_5.from_hf(config).text.full_layers
    assert ours == (3, 7) == tuple(i for i in range(8) if theirs[i] == "full_attention")
