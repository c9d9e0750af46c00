"""Hugging Face directories into sharded models: values, memory, and everything that can be wrong
with a directory. transformers writes the directories."""

import dataclasses
import json
import shutil
import tracemalloc

import huggingface_hub
import jax
import ml_dtypes
import numpy as np
import pytest
import torch
from flax import nnx
from safetensors.numpy import load_file, save_file

from tests.vsft_jax.hf_fixtures import edit_json, write_model
from vsft_jax.huggingface import files as hf_files
from vsft_jax.huggingface.files import HFError, SafetensorsReader, local_directory
from vsft_jax.huggingface.load import load_params
from vsft_jax.huggingface.tensors import params_from_hf, params_to_hf
from vsft_jax.models.qwen2_5_vl import FAMILY as qwen2_5_vl
from vsft_jax.sharding import abstract_model, make_mesh

ONE_FILE = "model.safetensors"
INDEX = "model.safetensors.index.json"


def _config(directory, **compute):
    compute = {"dtype": "float32", "param_dtype": "float32"} | compute
    return qwen2_5_vl.from_hf(json.loads((directory / "config.json").read_text()), **compute)


def _abstract(config, **mesh):
    mesh = make_mesh({"data": 1, "fsdp": -1, "tensor": 1} | mesh)
    build = lambda: qwen2_5_vl.model(config, rngs=nnx.Rngs(0))  # noqa: E731
    return abstract_model(build, qwen2_5_vl.partition_rules(), mesh)[1]


def _load(directory, config=None, **mesh):
    config = config or _config(directory)
    return load_params(qwen2_5_vl, config, directory, _abstract(config, **mesh))


def _assert_equal(found, expected):
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(np.asarray(a), b), found, expected)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A directory in several files, and the same parameters through transformers' tensors."""
    directory = tmp_path_factory.mktemp("model")
    model = write_model(directory, max_shard_size="150KB")
    assert len(list(directory.glob("*.safetensors"))) > 2
    tensors = {name: value.numpy() for name, value in model.state_dict().items()}
    return directory, params_from_hf(qwen2_5_vl, _config(directory), tensors)


@pytest.fixture
def copy(written, tmp_path):
    """A directory to break, in one file."""
    directory, params = written
    shutil.copytree(directory, tmp_path / "copy")
    for path in [*(tmp_path / "copy").glob("*.safetensors"), tmp_path / "copy" / INDEX]:
        path.unlink()
    save_file(params_to_hf(qwen2_5_vl, _config(directory), params), tmp_path / "copy" / ONE_FILE)
    return tmp_path / "copy"


# ── Values. ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "mesh",
    [{"fsdp": 8}, {"fsdp": 2, "tensor": 4}, {"data": 4, "fsdp": 2}, {"fsdp": 1, "tensor": 8}],
    ids=str,
)
def test_shards_are_those_of_the_whole_model(written, mesh):
    directory, expected = written
    abstract = _abstract(_config(directory), **mesh)
    found = _load(directory, **mesh)
    _assert_equal(found, expected)
    jax.tree.map(lambda a, b: a.sharding == b.sharding or pytest.fail(str(a)), found, abstract)
    assert sum(not leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(found)) > 15


@pytest.mark.parametrize("layout", ["released", "nested"])
def test_both_key_layouts(written, tmp_path, layout):
    directory, params = written
    config = _config(directory)
    save_file(params_to_hf(qwen2_5_vl, config, params, layout), tmp_path / ONE_FILE)
    names = SafetensorsReader(tmp_path).shapes
    assert ("model.visual.merger.ln_q.weight" in names) == (layout == "nested")
    _assert_equal(_load(tmp_path, config), params)


@pytest.mark.parametrize("stored, param", [("bfloat16", "float32"), ("float32", "bfloat16")])
def test_dtypes_are_cast_by_value(copy, stored, param):
    tensors = load_file(copy / ONE_FILE)
    save_file({name: x.astype(stored) for name, x in tensors.items()}, copy / ONE_FILE)
    found = _load(copy, _config(copy, param_dtype=param))
    kernel = found["llm"]["layers"]["q"]["kernel"][...]
    expected = tensors["model.layers.1.self_attn.q_proj.weight"].T.astype(ml_dtypes.bfloat16)
    assert kernel.dtype == param
    np.testing.assert_array_equal(np.asarray(kernel[1]), expected.astype(param))


def test_a_checkpoint_that_torch_saved_in_bfloat16(tmp_path):
    model = write_model(tmp_path, dtype=torch.bfloat16)
    found = _load(tmp_path)["merger"]["fc2"]["kernel"][...]
    expected = model.model.visual.merger.mlp[2].weight.detach().float().numpy().T
    np.testing.assert_array_equal(found, expected)


def test_each_byte_is_read_once_and_replicas_are_copies(written, monkeypatch):
    directory, _ = written
    stored = sum(f.stat().st_size for f in directory.glob("*.safetensors"))
    read, count = SafetensorsReader.read, [0]

    def counting(self, name, index):
        found = read(self, name, index)
        count[0] += found.nbytes
        return found

    monkeypatch.setattr(SafetensorsReader, "read", counting)
    _load(directory, fsdp=2, tensor=2, data=2)
    patch_embed = 32 * 1176 * 4  # its convolution is cut on the host
    assert 0.9 * stored < count[0] < stored + 2 * patch_embed


# ── Tied embeddings. ────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def tied(copy):
    """A directory with tied embeddings, and a function that stores a head in it."""
    edit_json(copy / "config.json", tie_word_embeddings=True)
    tensors = load_file(copy / ONE_FILE)

    def store(head=None):
        kept = {name: x for name, x in tensors.items() if name != "lm_head.weight"}
        save_file(kept | ({} if head is None else {"lm_head.weight": head}), copy / ONE_FILE)
        return copy

    return store, tensors["model.embed_tokens.weight"]


def test_tied_embeddings_with_and_without_a_stored_head(tied):
    store, embedding = tied
    for head in (None, embedding):
        found = _load(store(head))
        assert "head" not in found["llm"]
        np.testing.assert_array_equal(found["llm"]["embed"]["embedding"][...], embedding)


@pytest.mark.parametrize("row", [0, 319])
def test_another_head_than_the_embedding_it_is_tied_to(tied, row):
    store, embedding = tied
    other = embedding.copy()
    other[row, 5] += 1
    with pytest.raises(HFError, match="lm_head.weight differs from model.embed_tokens.weight"):
        _load(store(other))


# ── Memory. ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("mesh", [{"fsdp": 8}, {"fsdp": 1, "tensor": 8}, {"data": 8, "fsdp": 1}])
def test_the_host_needs_little_more_than_the_largest_shard(written, tmp_path, mesh):
    config = _config(written[0])
    text = dataclasses.replace(config.text, vocab_size=131072, width=128, mlp_width=1024)
    config = dataclasses.replace(config, text=text)
    abstract = _abstract(config, **mesh)
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(text.vocab_size * text.width, dtype=np.float32)
    params = jax.tree.map(lambda x: noise[: x.size].reshape(x.shape), abstract)
    tensors = params_to_hf(qwen2_5_vl, config, params)
    save_file({k: x.astype(ml_dtypes.bfloat16) for k, x in tensors.items()}, tmp_path / ONE_FILE)
    del tensors
    shards = [
        np.prod(leaf.sharding.shard_shape(leaf.shape)) * 4 for leaf in jax.tree.leaves(abstract)
    ]
    load_params(qwen2_5_vl, config, tmp_path, abstract)  # what is imported and traced once
    tracemalloc.start()
    found = load_params(qwen2_5_vl, config, tmp_path, abstract)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert max(shards) >= 8 << 20
    assert max(shards) < peak <= 1.2 * max(shards)
    head = np.asarray(found["llm"]["head"]["kernel"][...])
    np.testing.assert_array_equal(
        head, params["llm"]["head"]["kernel"][...].astype(ml_dtypes.bfloat16).astype(np.float32)
    )


# ── What can be wrong with a directory. ─────────────────────────────────────────────────────────


def test_all_misfits_are_one_error(copy):
    tensors = load_file(copy / ONE_FILE)
    del tensors["model.norm.weight"], tensors["visual.blocks.2.attn.proj.bias"]
    tensors["visual.extra.weight"] = np.zeros(3, np.float32)
    tensors["visual.merger.mlp.0.bias"] = np.zeros(3, np.float32)
    tensors["model.visual.merger.ln_q.weight"] = np.ones(32, np.float32)
    save_file(tensors, copy / ONE_FILE)
    with pytest.raises(HFError) as error:
        _load(copy)
    for part in (
        str(copy),
        "missing: model.language_model.norm.weight",
        "missing: model.visual.blocks.2.attn.proj.bias",
        "unknown: visual.extra.weight",
        "shape of visual.merger.mlp.0.bias is (3,), the config needs (128,)",
        "visual.merger.ln_q.weight",
    ):
        assert part in str(error.value)
    assert "twice: " in str(error.value)


def _pickles(directory):
    (directory / ONE_FILE).rename(directory / "pytorch_model.bin")


def _nothing(directory):
    (directory / ONE_FILE).unlink()


def _truncated(directory):
    data = (directory / ONE_FILE).read_bytes()
    (directory / ONE_FILE).write_bytes(data[: len(data) // 2])


def _garbage(directory):
    (directory / ONE_FILE).write_bytes(b"\xff" * 1000)


def _empty(directory):
    (directory / ONE_FILE).write_bytes(b"")


def _lfs(directory):
    (directory / ONE_FILE).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")


def _index(weight_map, keep=None):
    def change(directory):
        if keep:
            (directory / ONE_FILE).rename(directory / keep)
        else:
            (directory / ONE_FILE).unlink()
        (directory / INDEX).write_text(json.dumps({"weight_map": weight_map}))

    return change


def _not_json(directory):
    _index({})(directory)
    (directory / INDEX).write_text("{")


def _nested(directory):
    _index({})(directory)
    (directory / INDEX).write_text('{"weight_map": ' + "[" * 10**6)


def _quantised(directory):
    tensors = load_file(directory / ONE_FILE)
    name = "model.layers.0.mlp.up_proj.weight"
    save_file({**tensors, name: tensors[name].astype(np.int8)}, directory / ONE_FILE)


@pytest.mark.parametrize(
    "spoil, message",
    [
        (_pickles, r"pickle only \(pytorch_model.bin\).*save_pretrained"),
        (_nothing, "has neither model.safetensors nor"),
        (_truncated, "model.safetensors is broken or incomplete"),
        (_garbage, "model.safetensors is broken or incomplete"),
        (_empty, "model.safetensors is broken or incomplete"),
        (_lfs, "Git LFS pointer.*git lfs pull"),
        (_index({"a": "gone.safetensors"}), "gone.safetensors of .*index.json not there"),
        (_index({"a": "../up.safetensors"}, "x"), "'../up.safetensors' is outside"),
        (_index({"a": "/etc/passwd"}), "'/etc/passwd' is outside"),
        (_index({"a": "x.safetensors"}, "x.safetensors"), "a is not in x.safetensors, where"),
        (_index({}), "has no weight_map"),
        (_index({"a": {"b": "x.safetensors"}}), "the weight_map names no file for 'a'"),
        (_not_json, "index.json: not a JSON file"),
        (_nested, "index.json: brackets are nested too deeply"),
        (_quantised, "mlp.up_proj.weight is stored as I8: quantised"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_broken_directories(copy, spoil, message):
    spoil(copy)
    with pytest.raises(HFError, match=message):
        _load(copy, _config(copy))


# ── Hub ids. ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_weights_that_are_not_finite_are_named(copy, value):
    tensors = load_file(copy / ONE_FILE)
    (name,) = (name for name in tensors if name.endswith("layers.1.mlp.up_proj.weight"))
    tensors[name][3, 5] = value
    save_file(tensors, copy / ONE_FILE)
    with pytest.raises(HFError, match=f"{copy} is of no use: llm/layers/mlp/up/kernel is not fin"):
        _load(copy)


def test_a_hub_id_is_downloaded_without_pickles(monkeypatch, written):
    asked = []

    def snapshot_download(hub_id, *, allow_patterns):
        asked.append((hub_id, allow_patterns))
        return str(written[0])

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    assert local_directory("Qwen/some-model") == written[0]
    ((hub_id, patterns),) = asked
    assert hub_id == "Qwen/some-model"
    assert {"*.safetensors", "*.json", "*.jinja", "*.txt"} <= set(patterns)
    assert not {"*.bin", "*.pt", "*.py"} & set(patterns)
    hf_files._download.cache_clear()


def test_a_hub_id_without_network(monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HFError, match="nobody/nothing: .*not be downloaded.*give a directory"):
        local_directory("nobody/nothing")


@pytest.mark.parametrize("path", ["/no/such/directory", "no_such_directory", "../a/b", "a/b/c"])
def test_a_path_that_is_not_there(path):
    with pytest.raises(HFError, match="there is no such directory"):
        local_directory(path)
