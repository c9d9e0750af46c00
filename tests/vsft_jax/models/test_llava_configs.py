"""The LLaVA families at full size, against transformers' models and the published counts; nothing
is allocated."""

import numpy as np
import pytest
import torch
import transformers
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil
from transformers.models.llava_next.image_processing_pil_llava_next import (
    LlavaNextImageProcessorPil,
)
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import (
    LlavaOnevisionImageProcessorPil,
)

from input_pipeline.layout import tiles
from input_pipeline.media import MediaInfo
from tests.parity.llava_reference import pillow_resize
from vsft_jax.huggingface.tensors import locate, parameter_shapes, tensor_shapes
from vsft_jax.models import family_named
from vsft_jax.models.llava_1_5 import FAMILY as llava_1_5
from vsft_jax.models.llava_next_video import FAMILY as llava_next_video
from vsft_jax.models.llava_onevision import FAMILY as llava_onevision

# Parameters of the Hugging Face checkpoints, and rows of the vocabulary that some of them lack:
# the counts of LLaVA-1.5 13b and of OneVision are those of the original repositories, before
# transformers' conversion padded the embedding by 64 rows.
PUBLISHED = {
    ("llava_1_5", "7b"): (7_063_427_072, 0),
    ("llava_1_5", "13b"): (13_350_839_296, 2 * 64),
    ("llava_next_video", "7b"): (7_063_431_168, 0),
    ("llava_next_video", "34b"): (34_752_083_968, 0),
    ("llava_onevision", "0.5b"): (893_618_208, 64),
    ("llava_onevision", "7b"): (8_030_348_832, 2 * 64),
}


@pytest.mark.parametrize("name, size", PUBLISHED)
def test_published_sizes(name, size):
    """Every tensor of transformers' model of this config is in our table, with its shape."""
    family = family_named(name)
    assert size in family.sizes
    config = family.published(size)
    table, shapes = family.checkpoint_table(config), parameter_shapes(family, config)
    assert locate(table, shapes).keys() == shapes.keys()
    found = tensor_shapes(table, shapes)

    written = family.to_hf(config)
    assert family.from_hf(written) == config
    kind = getattr(transformers, written["architectures"][0])
    with torch.device("meta"):
        model = kind(kind.config_class(**written))
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    if config.text.tie_word_embeddings:
        del expected["lm_head.weight"]
    assert found == expected

    count, rows = PUBLISHED[name, size]
    total = sum(int(np.prod(shape)) for shape in found.values())
    assert total == count + rows * config.text.width


def test_names():
    """Names of every kind of checkpoint, and back to those of the release."""
    names = {
        "model.language_model.layers.0.mlp.up_proj.weight": (
            "language_model.model.layers.0.mlp.up_proj.weight",
        ),
        "lm_head.weight": ("language_model.lm_head.weight",),
        "model.vision_tower.encoder.layers.1.mlp.fc1.bias": (
            "vision_tower.vision_model.encoder.layers.1.mlp.fc1.bias",
            "model.vision_tower.vision_model.encoder.layers.1.mlp.fc1.bias",
            "vision_tower.encoder.layers.1.mlp.fc1.bias",
        ),
        "model.multi_modal_projector.linear_1.weight": ("multi_modal_projector.linear_1.weight",),
        "model.image_newline": ("image_newline",),
    }
    for name, others in names.items():
        assert llava_onevision.released_name(name) == others[0]
        for other in (name, *others):
            assert llava_onevision.canonical_name(other) == name
    for dropped in (
        "vision_tower.vision_model.head.probe",
        "vision_tower.vision_model.embeddings.position_ids",
        "language_model.model.layers.0.self_attn.rotary_emb.inv_freq",
    ):
        assert llava_onevision.canonical_name(dropped) is None


def test_released_config_with_only_what_differs():
    """As llava-hf wrote them: most numbers are transformers' defaults."""
    vision = {
        "hidden_size": 1024,
        "image_size": 336,
        "intermediate_size": 4096,
        "model_type": "clip_vision_model",
        "num_attention_heads": 16,
        "num_hidden_layers": 24,
        "patch_size": 14,
    }
    text = {"model_type": "llama", "rms_norm_eps": 1e-5, "vocab_size": 32064}
    text["max_position_embeddings"] = 4096
    config = {"model_type": "llava", "image_token_index": 32000, "text_config": text}
    found = llava_1_5.from_hf({**config, "vision_config": vision})
    assert found == llava_1_5.published("7b")

    text = {**text, "rope_scaling": {"type": "linear", "factor": 2.5}}
    config = {"model_type": "llava_next_video", "text_config": text, "vision_config": vision}
    assert llava_next_video.from_hf(config) == llava_next_video.published("7b")


@pytest.mark.parametrize(
    "change, message",
    [
        ({"model_type": "llava"}, "'llava' is not llava_onevision"),
        ({"projector_hidden_act": "relu"}, "projector_hidden_act 'relu'"),
        ({"multimodal_projector_bias": False}, "multimodal_projector_bias is false"),
        ({"vision_feature_layer": [-2, -1]}, "must be one layer"),
        ({"vision_feature_layer": -30}, "feature_layer -30 is not the output"),
        ({"vision_feature_select_strategy": "default"}, "only full"),
        ({"vision_aspect_ratio": "pad"}, "vision_aspect_ratio 'pad'"),
        ({"vision_config": {"model_type": "dinov2"}}, "vision_config.model_type 'dinov2'"),
        ({"text_config": {"model_type": "gemma"}}, "text_config.model_type 'gemma'"),
        ({"text_config": {"model_type": "qwen2", "use_sliding_window": True}}, "use_sliding"),
        (
            {"text_config": {"model_type": "qwen2", "rope_scaling": {"rope_type": "yarn"}}},
            "rope type 'yarn'",
        ),
    ],
)
def test_what_is_not_computed_is_named(change, message):
    config = llava_onevision.to_hf(llava_onevision.published("0.5b"))
    with pytest.raises(ValueError, match=message.replace("[", r"\[")):
        llava_onevision.from_hf({**config, **change})


def test_other_errors():
    for family in (llava_1_5, llava_next_video, llava_onevision):
        with pytest.raises(ValueError, match="size '70b' is unknown"):
            family.published("70b")
    config = llava_next_video.to_hf(llava_next_video.published("7b"))
    with pytest.raises(ValueError, match="spatial_pool_mode 'max'"):
        llava_next_video.from_hf({**config, "spatial_pool_mode": "max"})
    with pytest.raises(ValueError, match="vision_config is missing"):
        llava_1_5.from_hf({"model_type": "llava", "text_config": {}})


def test_processor_files(monkeypatch):
    """transformers' image processors, made from them, give our pixels and counts."""
    monkeypatch.setattr(tiles, "resize", pillow_resize)
    picture = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    for family, kind, choices in (
        (llava_1_5, LlavaImageProcessorPil, {"fit": "crop"}),
        (llava_1_5, LlavaImageProcessorPil, {"fit": "pad"}),
        (llava_1_5, LlavaImageProcessorPil, {"fit": "stretch"}),
        (llava_next_video, LlavaNextImageProcessorPil, {}),
        (llava_onevision, LlavaOnevisionImageProcessorPil, {}),
    ):
        config = family.published(family.sizes[0])
        layout = family.layout(config.vision, **choices)
        files = family.processor_files(config, layout)
        assert set(files) - {"video_preprocessor_config.json"} == {
            "preprocessor_config.json",
            "processor_config.json",
        }
        content = files["preprocessor_config.json"]
        assert content["image_processor_type"] == kind.__name__.removesuffix("Pil")
        found = kind(**content)(images=[picture], return_tensors="np")["pixel_values"][0]
        medium = layout.lay_out(MediaInfo("image", 90, 70, (0.0,), 0.0), (0,), 1.0)
        ours = layout.inputs(picture[None], medium).astype(np.float32) / 255
        ours = (ours - config.vision.image_mean) / config.vision.image_std
        found = found.reshape(ours.transpose(0, 3, 1, 2).shape)
        np.testing.assert_allclose(found, ours.transpose(0, 3, 1, 2), atol=1e-5)
