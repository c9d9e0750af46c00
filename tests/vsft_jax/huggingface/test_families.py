"""Every family through its config file: a directory of transformers', imported onto eight devices,
exported, and read by transformers again."""

import copy
import importlib
import importlib.util
import json

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

from tests.input_pipeline import tiny_gemma, tiny_llama, tiny_qwen, tiny_smollm
from tests.parity import (
    gemma4_reference,
    qwen3_5_reference,
    qwen3_reference,
    reference,
    test_llava_1_5,
    test_llava_next_video,
    test_llava_onevision,
    test_smolvlm,
)
from tests.vsft_jax.hf_fixtures import edit_json
from vsft_jax.config import Run
from vsft_jax.errors import ConfigError
from vsft_jax.export import export
from vsft_jax.huggingface.files import SafetensorsReader
from vsft_jax.inference import load_model

QWEN = {
    "image_token_id": "<|image_pad|>",
    "video_token_id": "<|video_pad|>",
    "vision_start_token_id": "<|vision_start|>",
    "vision_end_token_id": "<|vision_end|>",
}
GEMMA = {
    "image_token_id": "<|image|>",
    "video_token_id": "<|video|>",
    "boi_token_id": "<|image>",
    "eoi_token_id": "<image|>",
}
LLAVA = {"image_token_index": "<image>", "video_token_index": "<video>"}
# transformers' numbers, where they name special tokens, and a tokenizer.
FAMILIES = {
    "qwen2_5_vl": (reference.HF_CONFIG, QWEN, tiny_qwen),
    "qwen3_vl": (qwen3_reference.HF_CONFIG, QWEN, tiny_qwen),
    "qwen3_vl with experts": (qwen3_reference.EXPERTS_CONFIG, QWEN, tiny_qwen),
    "qwen3_5": (qwen3_5_reference.HF_CONFIG, QWEN, tiny_qwen),
    "qwen3_5 with experts": (qwen3_5_reference.EXPERTS_CONFIG, QWEN, tiny_qwen),
    "llava_1_5": (test_llava_1_5.HF_CONFIG, {"image_token_index": "<image>"}, tiny_llama),
    "llava_next_video": (test_llava_next_video.HF_CONFIG, LLAVA, tiny_llama),
    "llava_onevision": (test_llava_onevision.HF_CONFIG, LLAVA, tiny_llama),
    "smolvlm": (test_smolvlm.HF_CONFIG, {"image_token_id": "<image>"}, tiny_smollm),
    "gemma4": (gemma4_reference.SMALL, GEMMA, tiny_gemma),
    "gemma4 large": (gemma4_reference.LARGE, GEMMA, tiny_gemma),
    "gemma4 with experts": (gemma4_reference.EXPERTS, GEMMA, tiny_gemma),
}
PROCESSORS = {
    "qwen2_5_vl": "Qwen2_5_VLProcessor",
    "qwen3_vl": "Qwen3VLProcessor",
    "qwen3_vl with experts": "Qwen3VLProcessor",
    "qwen3_5": "Qwen3VLProcessor",
    "qwen3_5 with experts": "Qwen3VLProcessor",
    "llava_1_5": "LlavaProcessor",
    "llava_next_video": "LlavaNextVideoProcessor",
    "llava_onevision": "LlavaOnevisionProcessor",
    "smolvlm": "SmolVLMProcessor",
    "gemma4": "Gemma4Processor",
    "gemma4 large": "Gemma4Processor",
    "gemma4 with experts": "Gemma4Processor",
}


@pytest.fixture(scope="module", params=FAMILIES)
def exported(request, tmp_path_factory):
    """Family, its directory, and what an export with the family's own config.json made of it."""
    numbers, special, tokenizer = FAMILIES[request.param]
    directory = tmp_path_factory.mktemp(request.param)
    tokenizer.write_checkpoint(directory)
    ids = Tokenizer.from_file(str(directory / "tokenizer.json"))
    numbers = copy.deepcopy(numbers) | {key: ids.token_to_id(t) for key, t in special.items()}
    numbers["text_config"]["vocab_size"] = 448
    if "vocab_size_per_layer_input" in numbers["text_config"]:
        numbers["text_config"]["vocab_size_per_layer_input"] = 448
    shape = AutoConfig.for_model(**numbers)
    model = reference.randomise(AutoModelForImageTextToText.from_config(shape).eval())
    model.save_pretrained(directory, max_shard_size="200KB")

    config = importlib.import_module(f"configs.{request.param.split()[0]}").get_config(
        f"path={directory}"
    )
    config.model.dtype = config.export.dtype = "float32"
    return request.param, directory, config, export(Run(config, tmp_path_factory.mktemp("run")))


def test_every_tensor_comes_back(exported):
    _, directory, config, out = exported
    theirs, info = AutoModelForImageTextToText.from_pretrained(out, output_loading_info=True)
    assert not any(info.values())
    original = AutoModelForImageTextToText.from_pretrained(directory).state_dict()
    assert theirs.state_dict().keys() == original.keys()
    for name, value in theirs.state_dict().items():
        assert torch.equal(value, original[name]), name
    # The published names, which versions of transformers before 4.52 need.
    family = Run(config, "").family
    for name in SafetensorsReader(out).shapes:
        assert family.released_name(family.canonical_name(name)) == name


def test_its_own_config_json_says_the_same(exported):
    _, directory, config, out = exported
    family, shape = Run(config, "").family, Run(config, "").architecture
    written = json.loads(json.dumps(family.to_hf(shape)))
    compute = {"dtype": shape.dtype, "attention": shape.attention}
    assert family.from_hf(written, **compute) == shape
    (out / "own").mkdir()
    (out / "own" / "config.json").write_text(json.dumps(written))
    theirs, own = (AutoConfig.from_pretrained(d) for d in (directory, out / "own"))
    rng = np.random.default_rng(0)
    tokens = torch.tensor(rng.integers(20, 400, (1, 12)))
    logits = []
    for given in (theirs, own):
        model = AutoModelForImageTextToText.from_pretrained(out, config=given).eval()
        with torch.no_grad():
            logits.append(model(input_ids=tokens).logits)
    assert logits[0].std() > 0.3 and torch.equal(*logits)


def test_transformers_finds_a_processor(exported):
    if not importlib.util.find_spec("torchvision"):
        pytest.skip("transformers' processors need torchvision")
    name, _, config, out = exported
    processor = AutoProcessor.from_pretrained(out)
    assert type(processor).__name__ == PROCESSORS[name]
    mean = Run(config, "").architecture.vision.image_mean
    np.testing.assert_allclose(processor.image_processor.image_mean, mean)
    assert processor.chat_template


def test_a_checkpoint_of_another_family_is_named(exported):
    name, directory, config, _ = exported
    other = "qwen3_vl" if name == "qwen2_5_vl" else "qwen2_5_vl"
    wrong = importlib.import_module(f"configs.{other}").get_config(f"path={directory}")
    stored = json.loads((directory / "config.json").read_text())["model_type"]
    with pytest.raises(ConfigError, match=f"holds a '{stored}' model.*'{other}'"):
        _ = Run(wrong, "").architecture


def test_token_ids_of_another_tokenizer_are_named(exported):
    name, directory, config, _ = exported
    key, token = next(iter(FAMILIES[name][1].items()))
    before = (directory / "config.json").read_text()
    stored = json.loads(before)
    keys = [key, key.replace("_index", "_id")]
    edit_json(directory / "config.json", **{k: 400 for k in keys if k in stored})
    try:
        with pytest.raises(ConfigError, match=f"400 in config.json.*{token[1:-1]}"):
            _ = Run(config, "").model_config
    finally:
        (directory / "config.json").write_text(before)
    assert load_model(Run(config, directory)).step == 0
