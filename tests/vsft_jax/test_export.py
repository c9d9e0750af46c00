"""Models as Hugging Face directories: what transformers and we read back, and what happens when
writing stops in the middle."""

import functools
import json
import shutil
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer

from configs import default
from tests.parity.reference import Text, hf_inputs, packed_arrays, random_media
from tests.vsft_jax import several_processes
from tests.vsft_jax.hf_fixtures import edit_json, write_model
from vsft_jax import export as hf_export
from vsft_jax.checkpoints import Checkpoints
from vsft_jax.config import Run
from vsft_jax.errors import ConfigError
from vsft_jax.export import export
from vsft_jax.inference import load_model
from vsft_jax.lora import ModelBuilder


def _config(path="", **export_options):
    config = default.get_config()
    config.model.update(path=str(path), dtype="float32")
    config.export.update(export_options)
    return config


def _tensors(directory):
    found = {}
    for path in sorted(directory.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            assert file.metadata() == {"format": "pt"}
            found |= {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return found


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A directory as transformers writes it, with a processor's settings."""
    directory = tmp_path_factory.mktemp("source")
    model = write_model(directory)
    statistics = {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.25]}
    (directory / "preprocessor_config.json").write_text(json.dumps(statistics))
    return directory, model


@pytest.fixture(scope="module")
def exported(source, tmp_path_factory):
    """The same model after import and export in float32, in several files."""
    config = _config(source[0], dtype="float32")
    workdir = tmp_path_factory.mktemp("run")
    return config, export(Run(config, workdir), largest_file=150_000)


def test_a_round_trip_changes_nothing(source, exported):
    (source, _), (_, out) = source, exported
    found, expected = _tensors(out), _tensors(source)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name
    config, kept = (json.loads((d / "config.json").read_text()) for d in (out, source))
    assert config.pop("torch_dtype") == "float32" and config == kept
    for name in ("tokenizer.json", "generation_config.json", "preprocessor_config.json"):
        assert (out / name).read_bytes() == (source / name).read_bytes()
    assert sorted(path.name for path in out.parent.iterdir()) == ["hf"]


def test_files_and_their_index(exported):
    _, out = exported
    index = json.loads((out / "model.safetensors.index.json").read_text())
    files = sorted(path.name for path in out.glob("*.safetensors"))
    assert files[0] == f"model-00001-of-{len(files):05d}.safetensors" and len(files) > 4
    assert sorted(set(index["weight_map"].values())) == files
    for file in files:
        assert (out / file).stat().st_size < 160_000
        with safe_open(out / file, "np") as opened:
            assert {n for n, f in index["weight_map"].items() if f == file} == set(opened.keys())
    sizes = [value.nbytes for value in _tensors(out).values()]
    assert index["metadata"]["total_size"] == sum(sizes)


def test_transformers_computes_what_we_compute(exported):
    config, out = exported
    theirs = AutoModelForImageTextToText.from_pretrained(out, attn_implementation="eager").eval()
    assert AutoTokenizer.from_pretrained(out).chat_template
    model = load_model(Run(config, out.parent))
    shape = Run(config, "").model_config
    rng = np.random.default_rng(0)
    media = random_media(rng, "video", (2, 6, 10), 0.75), random_media(rng, "image", (1, 4, 6))
    text = [Text(tuple(rng.integers(20, 320, count).tolist())) for count in (5, 4, 6)]
    example = [text[0], media[0], text[1], media[1], text[2]]
    with torch.no_grad():
        expected = theirs(**hf_inputs(shape, example)).logits[0].numpy()
    arrays = jax.tree.map(jnp.asarray, packed_arrays(shape, [[example]], 64, 144))
    merged = nnx.merge(model.graphdef, model.params)
    logits = merged.unembed(merged.hidden_states(arrays))[0, : len(expected)]
    assert expected.std() > 0.5
    np.testing.assert_allclose(logits, expected, atol=2e-4)


def test_bfloat16_is_the_default(source, tmp_path):
    out = export(Run(_config(source[0]), tmp_path))
    assert [path.name for path in out.glob("*.safetensors")] == ["model.safetensors"]
    assert not (out / "model.safetensors.index.json").exists()
    for name, value in _tensors(source[0]).items():
        assert torch.equal(_tensors(out)[name], value.to(torch.bfloat16)), name
    assert AutoModelForImageTextToText.from_pretrained(out).dtype == torch.bfloat16


def test_an_unknown_dtype_is_named(source, tmp_path):
    with pytest.raises(ConfigError, match="config.export.dtype = 'int8'"):
        export(Run(_config(source[0], dtype="int8"), tmp_path))


def test_the_host_holds_one_tensor_at_a_time(source, tmp_path):
    config, dtype = _config(source[0]), np.dtype(np.float32)
    tensors = hf_export._tensors(Run(config, tmp_path), load_model(Run(config, tmp_path)), dtype)
    made, alive = [], []

    def watched(make):
        alive.append(sum(reference() is not None for reference in made))
        array = make()
        made.append(weakref.ref(array))
        return array

    makers = {name: functools.partial(watched, make) for name, _, make in tensors}
    hf_export._write_weights(tmp_path, hf_export._files(tensors, dtype, 10**9), makers, dtype)
    # A stack's layers are tensors of their own: never the whole stack.
    assert len(made) == len(tensors) == len(_tensors(source[0])) and max(alive) <= 1


# ── Interruptions. ──────────────────────────────────────────────────────────────────────────────


def _interrupt(monkeypatch, after):
    """Writing stops in the middle of a file, `after` files later. Returns the list of them."""
    write, written = hf_export.write_safetensors, []

    def failing(path, tensors, make, metadata):
        if len(written) == after:
            (path.parent / f"{path.name}.unfinished").write_bytes(b"half")
            raise KeyboardInterrupt
        written.append(path.name)
        write(path, tensors, make, metadata)

    monkeypatch.setattr(hf_export, "write_safetensors", failing)
    return written


def test_an_interrupted_export_goes_on(source, exported, tmp_path, monkeypatch):
    config, complete = exported
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        _interrupt(patch, after=3)
        export(Run(config, tmp_path), largest_file=150_000)
    assert not (tmp_path / "hf").exists()
    files = [path.name for path in sorted(complete.glob("*.safetensors"))]
    with monkeypatch.context() as patch:
        written = _interrupt(patch, after=100)
        out = export(Run(config, tmp_path), largest_file=150_000)
    assert written == files[3:]
    assert {p.name for p in out.iterdir()} == {p.name for p in complete.iterdir()}
    for path in complete.glob("*.safetensors*"):
        assert (out / path.name).read_bytes() == path.read_bytes()


def test_what_another_export_left_is_not_used(source, exported, tmp_path, monkeypatch):
    config, complete = exported
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        _interrupt(patch, after=2)
        export(Run(_config(source[0], dtype="bfloat16"), tmp_path), largest_file=150_000)
    written = _interrupt(monkeypatch, after=100)
    out = export(Run(config, tmp_path), largest_file=150_000)
    assert len(written) == len(list(complete.glob("*.safetensors")))
    assert _tensors(out).keys() == _tensors(complete).keys()
    assert all(value.dtype == torch.float32 for value in _tensors(out).values())


def test_an_export_replaces_an_older_one_only_when_complete(source, tmp_path, monkeypatch):
    config = _config(source[0])
    out = export(Run(config, tmp_path))
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    (out / "note.txt").write_text("from before")
    config.export.dtype = "float32"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        _interrupt(patch, after=0)
        export(Run(config, tmp_path))
    assert (out / "model.safetensors").read_bytes() == before["model.safetensors"]
    export(Run(config, tmp_path))
    assert not (out / "note.txt").exists()
    assert (out / "model.safetensors").stat().st_size > len(before["model.safetensors"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hf"]


# ── Trained models. ─────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def trained(shared_config, tmp_path):
    """A workdir with a checkpoint of configs/tiny.py's model, from no Hugging Face directory."""
    config = shared_config.copy_and_resolve_references().unlock()
    config.layout.video_total_pixels = 24576.0 * 28 * 28
    run = Run(config, tmp_path)
    family, shape = run.family, run.model_config
    params = nnx.split(family.model(shape, rngs=nnx.Rngs(3)))[1]
    checkpoints = Checkpoints(tmp_path)
    meta = {"config": run.as_json, "frames": config.frames.to_dict(), "step": 7}
    checkpoints.save(7, params, {"step": np.int32(7)}, meta)
    checkpoints.close()
    return config, params, tmp_path


def test_a_model_without_a_source_brings_all_that_transformers_needs(trained):
    config, params, workdir = trained
    config.export.dtype = "float32"
    out = export(Run(config, workdir))
    record = json.loads((out / "export.json").read_text())
    assert (record["source"], record["step"]) == (str(workdir), 7)
    theirs, info = AutoModelForImageTextToText.from_pretrained(out, output_loading_info=True)
    assert not any(info.values())
    tokenizer = AutoTokenizer.from_pretrained(out)
    assert tokenizer.convert_tokens_to_ids("<|image_pad|>") == theirs.config.image_token_id
    assert theirs.generation_config.eos_token_id == list(Run(config, workdir).tokenizer.stop_ids())
    assert tokenizer.chat_template == (out / "chat_template.jinja").read_text()
    images = AutoImageProcessor.from_pretrained(out)
    assert images.size["longest_edge"] == config.layout.image_max_pixels
    layout = Run(config, "").layout
    video = json.loads((out / "video_preprocessor_config.json").read_text())
    assert int(video["max_video_tokens"] * layout.factor**2 * 0.9) == layout.video_total_pixels

    # And back: what was exported is what is imported, architecture and special tokens included.
    again = _config(out)
    again.model.dtype = config.model.dtype
    again.layout = config.layout
    found = load_model(Run(again, workdir / "elsewhere"))
    jax.tree.map(np.testing.assert_array_equal, found.params, params)
    assert Run(again, "").architecture.text == Run(config, "").architecture.text
    assert Run(again, "").architecture.vision == Run(config, "").architecture.vision


def test_adapters_are_merged(trained):
    config, _, workdir = trained
    config.lora.rank, config.export.dtype = 2, "float32"
    run = Run(config, workdir)
    family, shape = run.family, run.model_config
    graphdef, params = nnx.split(ModelBuilder(family, shape, run.lora, seed=3)())
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda x: rng.standard_normal(x.shape).astype(x.dtype) / 10, params)
    checkpoints = Checkpoints(workdir)
    meta = {"config": run.as_json, "frames": config.frames.to_dict(), "step": 8}
    checkpoints.save(8, params, {"step": np.int32(8)}, meta)
    checkpoints.close()
    found = _tensors(export(Run(config, workdir)))
    assert not any("lora" in name for name in found)
    q = params["llm"]["layers"]["q"]
    kernel, a, b = (np.asarray(q[name][...])[1] for name in ("kernel", "lora_a", "lora_b"))
    expected = kernel + config.lora.alpha / 2 * a @ b
    name = "model.layers.1.self_attn.q_proj.weight"
    np.testing.assert_allclose(found[name].numpy().T, expected, atol=1e-5)
    assert abs(expected - kernel).max() > 0.1


def test_numbers_set_on_top_of_a_directory_are_exported(source, tmp_path):
    config = _config(source[0])
    with config.unlocked():
        config.model.text = {"rope_theta": 50000.0}
    out = export(Run(config, tmp_path))
    theirs = AutoModelForImageTextToText.from_pretrained(out).config
    assert theirs.text_config.rope_parameters["rope_theta"] == 50000.0
    assert theirs.text_config.rms_norm_eps == 1e-5 and theirs.tie_word_embeddings is False


# ── Several processes. ──────────────────────────────────────────────────────────────────────────

_WORKER = """
import sys
from configs import default
from vsft_jax.config import Run
from vsft_jax.export import export
config = default.get_config()
config.model.update(path=sys.argv[3], dtype="float32")
config.export.dtype = "float32"
export(Run(config, sys.argv[4]), largest_file=150_000)
"""


def test_two_processes_import_and_export_together(source, exported, tmp_path):
    several_processes.finish(several_processes.start(_WORKER, str(source[0]), str(tmp_path)))
    for path in exported[1].glob("*.safetensors*"):
        assert (tmp_path / "hf" / path.name).read_bytes() == path.read_bytes()


# ── What a config says about a directory. ───────────────────────────────────────────────────────


@pytest.fixture
def copy(source, tmp_path):
    return shutil.copytree(source[0], tmp_path / "copy")


def test_weights_beyond_float16_are_named(copy, tmp_path):
    tensors = _tensors(copy)
    tensors["model.norm.weight"] = 1e5 * torch.ones_like(tensors["model.norm.weight"])
    save_file(tensors, copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(ConfigError, match="export.dtype = 'float16': a weight is beyond"):
        export(Run(_config(copy, dtype="float16"), tmp_path / "run"))


@pytest.mark.parametrize("nested", [False, True])
def test_pixel_statistics_are_the_directory_s(copy, nested):
    if nested:  # as transformers 5 saves a processor
        path = copy / "preprocessor_config.json"
        content = {"image_processor": json.loads(path.read_text())}
        (copy / "processor_config.json").write_text(json.dumps(content))
        path.unlink()
    vision = Run(_config(copy), "").architecture.vision
    assert (vision.image_mean, vision.image_std) == ((0.4, 0.5, 0.6), (0.2, 0.3, 0.25))


def test_another_family_is_named(copy):
    edit_json(copy / "config.json", model_type="qwen3_vl")
    message = "holds a 'qwen3_vl' model, which does not go with config.model.family = 'qwen2_5_vl'"
    with pytest.raises(ConfigError, match=message):
        _ = Run(_config(copy), "").architecture


def test_a_size_that_the_directory_does_not_have(source):
    config = _config(source[0])
    config.model.size = "7b"
    with pytest.raises(ConfigError, match="size = '7b': its vision depth is 4, not 32"):
        _ = Run(config, "").architecture


def test_token_ids_that_are_not_the_tokenizer_s(copy):
    config = _config(copy)
    edit_json(copy / "config.json", video_token_id=9)
    message = r"video_token_id is 9 in config.json, but the tokenizer's <\|video_pad\|> is 7"
    with pytest.raises(ConfigError, match=message):
        _ = Run(config, "").model_config


@pytest.mark.parametrize("path", ["/no/such/directory", "nobody/nothing"])
def test_a_directory_that_is_not_there(path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match=f"config.model.path = '{path}'"):
        _ = Run(_config(path), "").architecture
