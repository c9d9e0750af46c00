"""Qwen3.5 for transformers; its host side is Qwen3-VL's, see `qwen3_reference`."""

import copy
import dataclasses

import torch
from transformers import AutoConfig, AutoModelForImageTextToText

from tests.parity import qwen3_reference
from tests.parity.reference import randomise
from vsft_jax.models.qwen3_5.config import ModelConfig, from_hf

# Two periods of layers; value heads that share keys; of a head of 24 values 12 turn.
HF_CONFIG = copy.deepcopy(qwen3_reference.HF_CONFIG) | {"model_type": "qwen3_5"}
HF_CONFIG["vision_config"]["model_type"] = "qwen3_5_vision"
HF_CONFIG["vision_config"]["depth"] = 2
del HF_CONFIG["vision_config"]["deepstack_visual_indexes"]
HF_CONFIG["text_config"] |= {
    "model_type": "qwen3_5_text",
    "num_hidden_layers": 6,
    "layer_types": 2 * ["linear_attention", "linear_attention", "full_attention"],
    "linear_conv_kernel_dim": 4,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 12,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "rope_parameters": {
        "rope_type": "default",
        "rope_theta": 10000.0,
        "partial_rotary_factor": 0.5,
        "mrope_section": [2, 2, 2],
        "mrope_interleaved": True,
    },
}

# The same with experts: neither their number nor a token's share of it is even.
EXPERTS_CONFIG = copy.deepcopy(HF_CONFIG) | {"model_type": "qwen3_5_moe"}
EXPERTS_CONFIG["vision_config"]["model_type"] = "qwen3_5_moe_vision"
EXPERTS_CONFIG["text_config"] |= {
    "model_type": "qwen3_5_moe_text",
    "moe_intermediate_size": 24,
    "shared_expert_intermediate_size": 20,
    "num_experts": 7,
    "num_experts_per_tok": 3,
}


def fill(model: torch.nn.Module) -> torch.nn.Module:
    """Norms around 1 + 0, and states of which some fade within a token and some hardly."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if name.endswith("A_log"):
                parameter.copy_(torch.linspace(-4, 1, len(parameter)))
            elif "language_model" in name and "norm" in name and "linear_attn" not in name:
                parameter.copy_(0.2 * noise)
            elif ".experts." in name:  # a matrix of each, not one of all
                parameter.mul_(parameter.shape[1] ** 0.5)
    return model


def hf_model(numbers=HF_CONFIG, **overrides) -> torch.nn.Module:
    """A tiny transformers model with weights large enough for every part to matter."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(**{**copy.deepcopy(numbers), **overrides})
    config._attn_implementation = "eager"
    return fill(randomise(AutoModelForImageTextToText.from_config(config).eval()))


def our_config(numbers=HF_CONFIG, **overrides) -> ModelConfig:
    compute = {"dtype": "float32", "param_dtype": "float32", "remat": "none"}
    return dataclasses.replace(from_hf(numbers, **compute), **overrides)
