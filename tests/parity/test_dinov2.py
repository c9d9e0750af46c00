"""DINOv2 against transformers: features of random small models, read from their own files."""

import json

import jax
import numpy as np
import pytest
import torch
from transformers import Dinov2Config, Dinov2Model

from tests.parity.reference import randomise
from vsft_jax.huggingface import HFError, load_on_one_device
from vsft_jax.models.dinov2 import DINOV2
from vsft_jax.models.dinov2.config import IMAGE_MEAN, IMAGE_STD
from vsft_jax.models.dinov2.model import cubic_weights

NUMBERS = dict(
    hidden_size=48,
    num_hidden_layers=3,
    num_attention_heads=3,
    image_size=70,
    patch_size=14,
    layerscale_value=0.3,
)


@pytest.fixture(scope="module", params=[False, True], ids=["mlp", "swiglu"])
def written(request, tmp_path_factory):
    """A directory as transformers writes it, and the model that was written."""
    directory = tmp_path_factory.mktemp("dinov2")
    torch.manual_seed(0)
    config = Dinov2Config(**NUMBERS, use_swiglu_ffn=request.param, attn_implementation="eager")
    model = randomise(Dinov2Model(config).eval())
    model.save_pretrained(directory)
    return directory, model


def _load(directory):
    return load_on_one_device(DINOV2, directory, attention="xla", remat="none")


def expected(model, images):
    """transformers' features of uint8[B, H, W, 3]."""
    pixels = (images / 255 - np.array(IMAGE_MEAN)) / np.array(IMAGE_STD)
    with torch.no_grad():
        pixels = torch.tensor(pixels.transpose(0, 3, 1, 2), dtype=torch.float32)
        return model(pixels).last_hidden_state.numpy()


@pytest.mark.parametrize("sides", [(70, 70), (42, 42), (28, 98)], ids=str)
def test_features(written, sides):
    # at the learned positions, at fewer, and at a picture that is not square
    directory, model = written
    images = np.random.default_rng(0).integers(0, 256, (2, *sides, 3), dtype=np.uint8)
    found = jax.jit(lambda model, images: model(images))(_load(directory), images)
    wanted = expected(model, images)
    assert np.abs(wanted).max() > 1
    np.testing.assert_allclose(found, wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("source", "target"), [(37, 16), (5, 3), (5, 9), (4, 4)])
def test_cubic_weights_against_torch(source, target):
    table = torch.eye(source)[None, :, :, None]  # one channel for each sample
    wanted = torch.nn.functional.interpolate(
        table, size=(target, 1), mode="bicubic", align_corners=False
    )
    np.testing.assert_allclose(
        cubic_weights(source, target), wanted[0, :, :, 0].T.numpy(), atol=1e-6
    )


def test_published_numbers():
    # transformers' config.json of facebook/dinov2-giant
    giant = dict(hidden_size=1536, num_hidden_layers=40, num_attention_heads=24, image_size=518)
    config = Dinov2Config(**giant, use_swiglu_ffn=True).to_dict()
    found = DINOV2.from_hf(config)
    assert (found.mlp_width, found.heads, found.grid) == (4096, 24, 37)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "dinov2_with_registers"}, "'dinov2_with_registers' is not dinov2"),
        ({"hidden_act": "relu"}, "hidden_act 'relu'"),
        ({"qkv_bias": False}, "qkv_bias"),
        ({"num_hidden_layers": 4}, r"missing: encoder.layer.3.norm1.weight"),
        ({"hidden_size": 50}, "width 50 must be a multiple of heads"),
    ],
)
def test_a_directory_that_does_not_fit_is_named(written, tmp_path, change, message):
    directory, _ = written
    for path in directory.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config = json.loads((directory / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(HFError, match=message):
        _load(tmp_path)
