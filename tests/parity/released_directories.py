"""Hugging Face directories of every family: a tiny model with a tokenizer of its own and the
processor files of the release, written out from what is public of them."""

import dataclasses
import json
from pathlib import Path

import tokenizers

from tests.input_pipeline import tiny_gemma, tiny_llama, tiny_qwen, tiny_smollm
from vsft_jax.models import family_named

_CLIP = {
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}
_HALF = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
_UNCHANGED = {"image_mean": [0.0, 0.0, 0.0], "image_std": [1.0, 1.0, 1.0]}
_STEPS = {
    "do_convert_rgb": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "resample": 3,
    "rescale_factor": 0.00392156862745098,
}
_CROP = {
    "size": {"shortest_edge": 336},
    "do_center_crop": True,
    "crop_size": {"height": 336, "width": 336},
}
_SIDES = range(384, 2305, 384)
_QWEN3 = {"patch_size": 16, "temporal_patch_size": 2, "merge_size": 2, **_HALF}

PROCESSORS = {
    # Qwen/Qwen2.5-VL-*-Instruct: one file for images and clips.
    "qwen2_5_vl": {
        "preprocessor_config.json": {
            "min_pixels": 3136,
            "max_pixels": 12845056,
            "patch_size": 14,
            "temporal_patch_size": 2,
            "merge_size": 2,
            **_CLIP,
            "image_processor_type": "Qwen2VLImageProcessor",
            "processor_class": "Qwen2_5_VLProcessor",
        }
    },
    # Qwen/Qwen3-VL-*-Instruct.
    "qwen3_vl": {
        "preprocessor_config.json": {
            "size": {"longest_edge": 16777216, "shortest_edge": 65536},
            **_QWEN3,
            "crop_size": None,
            "do_center_crop": None,
            "image_processor_type": "Qwen2VLImageProcessorFast",
            "processor_class": "Qwen3VLProcessor",
        },
        "video_preprocessor_config.json": {
            "size": {"longest_edge": 25165824, "shortest_edge": 4096},
            **_QWEN3,
            "processor_class": "Qwen3VLProcessor",
            "video_processor_type": "Qwen3VLVideoProcessor",
        },
    },
    # llava-hf/llava-1.5-*-hf.
    "llava_1_5": {
        "preprocessor_config.json": {
            **_STEPS,
            **_CROP,
            **_CLIP,
            "image_processor_type": "CLIPImageProcessor",
            "processor_class": "LlavaProcessor",
        },
        "processor_config.json": {
            "image_token": "<image>",
            "num_additional_image_tokens": 1,
            "patch_size": 14,
            "processor_class": "LlavaProcessor",
            "vision_feature_select_strategy": "default",
        },
    },
    # llava-hf/LLaVA-NeXT-Video-*-hf, as transformers saves it since clips have a file of their own.
    "llava_next_video": {
        "preprocessor_config.json": {
            **_STEPS,
            **_CROP,
            **_CLIP,
            "aspect_ratio_setting": "anyres",
            "do_pad": True,
            "image_grid_pinpoints": [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]],
            "image_processor_type": "LlavaNextImageProcessor",
            "processor_class": "LlavaNextVideoProcessor",
        },
        "video_preprocessor_config.json": {
            **_STEPS,
            **_CROP,
            **_CLIP,
            "processor_class": "LlavaNextVideoProcessor",
            "video_processor_type": "LlavaNextVideoVideoProcessor",
        },
        "processor_config.json": {
            "image_token": "<image>",
            "num_additional_image_tokens": 1,
            "patch_size": 14,
            "processor_class": "LlavaNextVideoProcessor",
            "video_token": "<video>",
            "vision_feature_select_strategy": "default",
        },
    },
    # llava-hf/llava-onevision-qwen2-*-ov-hf.
    "llava_onevision": {
        "preprocessor_config.json": {
            **_STEPS,
            **_HALF,
            "do_pad": True,
            "image_grid_pinpoints": [[height, width] for height in _SIDES for width in _SIDES],
            "image_processor_type": "LlavaOnevisionImageProcessor",
            "processor_class": "LlavaOnevisionProcessor",
            "size": {"height": 384, "width": 384},
        },
        "video_preprocessor_config.json": {
            **_STEPS,
            **_HALF,
            "processor_class": "LlavaOnevisionProcessor",
            "size": {"height": 384, "width": 384},
            "video_processor_type": "LlavaOnevisionVideoProcessor",
        },
        "processor_config.json": {
            "image_token": "<image>",
            "num_image_tokens": 729,
            "processor_class": "LlavaOnevisionProcessor",
            "video_token": "<video>",
            "vision_aspect_ratio": "anyres_max_9",
            "vision_feature_select_strategy": "full",
        },
    },
    # HuggingFaceTB/SmolVLM2-256M-Video-Instruct: one file for images and clips.
    "smolvlm": {
        "preprocessor_config.json": {
            **_STEPS,
            **_HALF,
            "resample": 1,
            "do_pad": True,
            "do_image_splitting": True,
            "image_processor_type": "SmolVLMImageProcessor",
            "max_image_size": {"longest_edge": 512},
            "processor_class": "SmolVLMProcessor",
            "size": {"longest_edge": 2048},
            "video_sampling": {"fps": 1, "max_frames": 64, "video_size": {"longest_edge": 512}},
        },
        "processor_config.json": {"image_seq_len": 64, "processor_class": "SmolVLMProcessor"},
    },
    # google/gemma-4-*-it: one file for all processors.
    "gemma4": {
        "processor_config.json": {
            "audio_ms_per_token": 40,
            "audio_seq_length": 750,
            "feature_extractor": {
                "feature_extractor_type": "Gemma4AudioFeatureExtractor",
                "sampling_rate": 16000,
            },
            "image_processor": {
                **_STEPS,
                **_UNCHANGED,
                "do_normalize": False,
                "image_processor_type": "Gemma4ImageProcessor",
                "image_seq_length": 280,
                "max_soft_tokens": 280,
                "patch_size": 16,
                "pooling_kernel_size": 3,
            },
            "image_seq_length": 280,
            "processor_class": "Gemma4Processor",
            "video_processor": {
                **_STEPS,
                **_UNCHANGED,
                "do_sample_frames": True,
                "max_soft_tokens": 70,
                "num_frames": 32,
                "patch_size": 16,
                "pooling_kernel_size": 3,
                "return_metadata": False,
                "video_processor_type": "Gemma4VideoProcessor",
            },
        }
    },
}

# Qwen/Qwen3.5-*: the same.
PROCESSORS["qwen3_5"] = PROCESSORS["qwen3_vl"]

_TEXT = dict(depth=2, width=64, mlp_width=80, heads=4, kv_heads=2, head_dim=16, vocab_size=448)
_GEMMA = {
    **dict(depth=6, full_layers=(1, 3, 5), shared_layers=2, layer_input_width=8),
    **dict(full_head_dim=32, full_kv_heads=2, window=40),
}
_QWEN3_5 = {
    **dict(full_layers=(1,), rotary_share=0.5, mrope_section=(2, 1, 1)),
    **dict(state_key_heads=2, state_heads=4, state_key_dim=8, state_dim=8),
}
_OWN_TEXT = {"gemma4": _GEMMA, "qwen3_5": _QWEN3_5}
_TOWER = dict(depth=2, width=32, mlp_width=48, heads=2)
_OWN_TOWER = {
    "qwen2_5_vl": {"fullatt_block_indexes": (1,)},
    "qwen3_vl": {"deepstack_layers": (0,)},
    "llava_1_5": {"feature_layer": -1},
    "gemma4": {"kv_heads": 2, "head_dim": 16},
    "llava_next_video": {"feature_layer": -1},
}


def write_directory(name: str, directory: Path, **text: int) -> Path:
    """Everything but weights: config.json, tokenizer and processor files of a family. text: further
    numbers of its language model."""
    family = family_named(name)
    qwen = name.startswith("qwen")
    own = {"smolvlm": tiny_smollm, "gemma4": tiny_gemma}.get(
        name, tiny_qwen if qwen else tiny_llama
    )
    own.write_checkpoint(directory)
    tokenizer = tokenizers.Tokenizer.from_file(str(directory / "tokenizer.json"))
    ids = {field: tokenizer.token_to_id(t) for field, t in family.special_tokens.items()}
    published = family.published(family.sizes[0])
    own_text = _OWN_TEXT.get(name, {"mrope_section": (2, 3, 3)} if qwen else {})
    config = dataclasses.replace(
        published,
        vision=dataclasses.replace(published.vision, **_TOWER, **_OWN_TOWER.get(name, {})),
        text=dataclasses.replace(published.text, **(_TEXT | own_text | text)),
        **ids,
    )
    for file, content in {"config.json": family.to_hf(config), **PROCESSORS[name]}.items():
        (directory / file).write_text(json.dumps(content))
    return directory
