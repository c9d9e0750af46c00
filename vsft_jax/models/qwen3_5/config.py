"""Qwen3.5's numbers as a whole: from and to transformers' config.json, and as released."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from vsft_jax.models.qwen3_5.architecture import FULL, TextConfig
from vsft_jax.models.shared import qwen
from vsft_jax.models.shared.hf import config_json, qwen_config_json
from vsft_jax.models.shared.hf.config_json import require
from vsft_jax.models.shared.qwen import SPECIAL_TOKENS

__all__ = ["PUBLISHED", "SPECIAL_TOKENS", "ModelConfig", "TextConfig", "VisionConfig"]


@dataclasses.dataclass(frozen=True)
class VisionConfig(qwen.PositionedVisionConfig):
    """The vision tower; the defaults are that of the 9B and 27B models."""


@dataclasses.dataclass(frozen=True)
class ModelConfig(qwen.PositionedModelConfig):
    """See `shared.config.ModelConfig`."""

    vision: VisionConfig
    text: TextConfig
    image_token_id: int = 248056
    video_token_id: int = 248057
    vision_start_token_id: int = 248053
    vision_end_token_id: int = 248054


_MOE = "qwen3_5_moe"
_KINDS = {"linear_attention": "linear", "full_attention": FULL}
_NAMES = {ours: theirs for theirs, ours in _KINDS.items()}
# What a text_config may leave out.
_TEXT = {
    "vocab_size": 248320,
    "hidden_size": 4096,
    "intermediate_size": 12288,
    "num_hidden_layers": 32,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-6,
    "linear_conv_kernel_dim": 4,
    "linear_key_head_dim": 128,
    "linear_value_head_dim": 128,
    "linear_num_key_heads": 16,
    "linear_num_value_heads": 32,
}
# What differs from it with experts.
_MOE_TEXT = _TEXT | {
    "hidden_size": 2048,
    "num_hidden_layers": 40,
    "num_key_value_heads": 2,
    "moe_intermediate_size": 512,
    "shared_expert_intermediate_size": 512,
    "num_experts": 256,
    "num_experts_per_tok": 8,
    "router_aux_loss_coef": 0.001,
}
# Our fields of what has one name each.
_FIELDS = {
    "depth": "num_hidden_layers",
    "width": "hidden_size",
    "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
    "vocab_size": "vocab_size",
    "head_dim": "head_dim",
    "norm_eps": "rms_norm_eps",
    "max_positions": "max_position_embeddings",
    "taps": "linear_conv_kernel_dim",
    "state_key_dim": "linear_key_head_dim",
    "state_dim": "linear_value_head_dim",
    "state_key_heads": "linear_num_key_heads",
    "state_heads": "linear_num_value_heads",
}
_MLP_FIELDS = {
    "qwen3_5": {"mlp_width": "intermediate_size"},
    _MOE: {
        "mlp_width": "moe_intermediate_size",
        "shared_width": "shared_expert_intermediate_size",
        "experts": "num_experts",
        "experts_per_token": "num_experts_per_tok",
        "router_coef": "router_aux_loss_coef",
    },
}


def from_hf(config: Mapping[str, Any], **compute: Any) -> ModelConfig:
    """Reads a transformers `config.json` of model type "qwen3_5" or "qwen3_5_moe". The layers with
    which the released models guess further tokens are no part of the model.

    Args:
        config: the parsed file; a key that is left out takes transformers' default.
        **compute: `dtype`, `param_dtype`, `remat`, `attention` of `ModelConfig`.

    Raises:
        ValueError: another model type, a variant that this code does not compute, or no rope_theta.
    """
    config_json.require_family(config, tuple(_MLP_FIELDS), "text_config", "vision_config")
    kind = config["model_type"]
    text: dict[str, Any] = {**(_MOE_TEXT if kind == _MOE else _TEXT), **config["text_config"]}
    fields = _FIELDS | _MLP_FIELDS[kind]
    rope = config_json.rope(text)
    config_json.rope_type(text, ("default", "yarn"))
    theta: Any = rope.get("rope_theta", text.get("rope_theta"))
    require(theta is not None, "text_config has no rope_theta, nor have its rope_parameters")
    require(
        isinstance(text["head_dim"], int) and text["head_dim"] > 0,
        f"text_config.head_dim is {text['head_dim']!r}: expected a number, or no key at all",
    )
    for key, value, supported in (
        ("mrope_interleaved", rope.get("mrope_interleaved", True), (True,)),
        ("hidden_act", text.get("hidden_act", "silu"), ("silu",)),
        ("attention_bias", text.get("attention_bias", False), (False,)),
        ("attn_output_gate", text.get("attn_output_gate", True), (True,)),
        ("output_gate_type", text.get("output_gate_type", "swish"), ("swish", "silu")),
    ):
        require(
            value in supported,
            f"text_config.{key} is {value!r}, only {supported[0]!r} is supported",
        )
    tied = config.get("tie_word_embeddings", False)  # as transformers has it, which asks the top
    require(
        tied or not text.get("tie_word_embeddings"),
        f"tie_word_embeddings is {str(tied).lower()} on top and true in text_config: make both "
        "true where the checkpoint has no lm_head.weight, else both false",
    )
    text_config = TextConfig(
        **{ours: text[theirs] for ours, theirs in fields.items()},
        full_layers=_full_layers(text),
        rope_theta=float(theta),
        rotary_share=float(
            rope.get("partial_rotary_factor", text.get("partial_rotary_factor", 0.25))
        ),
        mrope_section=tuple(rope.get("mrope_section", (11, 11, 10))),
        tie_word_embeddings=bool(tied),
        **config_json.yarn(text, text["max_position_embeddings"]),
    )
    vision = VisionConfig(**qwen_config_json.tower(config["vision_config"], text_config.width))
    ids = {name: config[name] for name in SPECIAL_TOKENS if config.get(name) is not None}
    return ModelConfig(vision, text_config, **ids, **compute)


def _full_layers(text: Mapping[str, Any]) -> tuple[int, ...]:
    depth, period = text["num_hidden_layers"], text.get("full_attention_interval", 4)
    kinds = text.get("layer_types")
    if kinds is None:
        require(
            isinstance(period, int) and 1 < period <= depth,
            f"text_config.full_attention_interval is {period!r}: expected a number from 2 to "
            f"num_hidden_layers ({depth}), or a list layer_types",
        )
        return tuple(range(period - 1, depth, period))
    require(
        len(kinds) == depth and set(kinds) <= _KINDS.keys(),
        f"text_config.layer_types has {len(kinds)} entries {sorted(set(kinds))}: expected "
        f"num_hidden_layers ({depth}), each {' or '.join(_KINDS)}",
    )
    require(
        len({_KINDS[kind] for kind in kinds}) == 2,
        f"text_config.layer_types are all {kinds[0]}: a model of both kinds is expected",
    )
    return tuple(i for i, kind in enumerate(kinds) if _KINDS[kind] == FULL)


def to_hf(config: ModelConfig) -> dict[str, Any]:
    """A `config.json` that transformers reads; inverse of `from_hf`."""
    text, kind = config.text, _MOE if config.text.experts else "qwen3_5"
    rope = {
        "rope_type": "default",
        "rope_theta": text.rope_theta,
        "partial_rotary_factor": text.rotary_share,
        "mrope_section": list(text.mrope_section),
        "mrope_interleaved": True,
    }
    return {
        "architectures": [f"Qwen3_5{'Moe' * bool(text.experts)}ForConditionalGeneration"],
        "model_type": kind,
        **{name: getattr(config, name) for name in SPECIAL_TOKENS},
        "tie_word_embeddings": text.tie_word_embeddings,
        "text_config": {
            "model_type": f"{kind}_text",
            **{
                theirs: getattr(text, ours)
                for ours, theirs in (_FIELDS | _MLP_FIELDS[kind]).items()
            },
            "layer_types": [_NAMES[kind] for kind in text.kinds],
            "tie_word_embeddings": text.tie_word_embeddings,
            "rope_parameters": {**rope, **config_json.yarn_to_hf(text)},
        },
        "vision_config": {
            "model_type": f"{kind}_vision",
            **qwen_config_json.tower_to_hf(config.vision, text.width),
        },
    }


# ── Released models. ────────────────────────────────────────────────────────────────────────────

_SMALLEST_TOWER = VisionConfig(12, 768, 3072, 12)
_SMALL_TOWER = VisionConfig(24, 1024, 4096)


def _text(
    depth: int,
    width: int,
    mlp_width: int,
    heads: int,
    kv_heads: int,
    state_heads: int,
    *,
    tied: bool = False,
    experts: tuple[int, int] = (0, 0),
) -> TextConfig:
    """Every fourth layer is a full one. experts: how many, and how many of them for a token; the
    MLP beside them is as wide as one."""
    return TextConfig(
        *(depth, width, mlp_width, heads, kv_heads, 248320),
        full_layers=tuple(range(3, depth, 4)),
        state_heads=state_heads,
        tie_word_embeddings=tied,
        experts=experts[0],
        experts_per_token=experts[1],
        router_coef=0.001 if experts[0] else 0.0,
        shared_width=mlp_width if experts[0] else 0,
    )


# Qwen/Qwen3.5-{0.8B,2B,4B,9B,27B,35B-A3B,122B-A10B,397B-A17B}.
PUBLISHED = {
    "0.8b": ModelConfig(_SMALLEST_TOWER, _text(24, 1024, 3584, 8, 2, 16, tied=True)),
    "2b": ModelConfig(_SMALL_TOWER, _text(24, 2048, 6144, 8, 2, 16, tied=True)),
    "4b": ModelConfig(_SMALL_TOWER, _text(32, 2560, 9216, 16, 4, 32, tied=True)),
    "9b": ModelConfig(VisionConfig(), _text(32, 4096, 12288, 16, 4, 32)),
    "27b": ModelConfig(VisionConfig(), _text(64, 5120, 17408, 24, 4, 48)),
    "35b-a3b": ModelConfig(VisionConfig(), _text(40, 2048, 512, 16, 2, 32, experts=(256, 8))),
    "122b-a10b": ModelConfig(VisionConfig(), _text(48, 3072, 1024, 32, 2, 64, experts=(256, 8))),
    "397b-a17b": ModelConfig(VisionConfig(), _text(60, 4096, 1024, 32, 2, 64, experts=(512, 10))),
}
