"""Gemma 4's numbers as a whole: from and to transformers' config.json, and as released."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from vsft_jax.models.gemma4.architecture import LayerSpec, TextConfig, VisionConfig
from vsft_jax.models.shared import config as shared
from vsft_jax.models.shared.hf import config_json
from vsft_jax.models.shared.hf.config_json import require

__all__ = [
    "PUBLISHED",
    "SPECIAL_TOKENS",
    "LayerSpec",
    "ModelConfig",
    "TextConfig",
    "VisionConfig",
]

# ModelConfig's ids, by the token they belong to.
SPECIAL_TOKENS = {
    "image_token_id": "<|image|>",
    "video_token_id": "<|video|>",
    "boi_token_id": "<|image>",
    "eoi_token_id": "<image|>",
}


@dataclasses.dataclass(frozen=True)
class ModelConfig(shared.ModelConfig):
    """See `shared.config.ModelConfig`."""

    vision: VisionConfig
    text: TextConfig
    image_token_id: int = 258880
    video_token_id: int = 258884
    boi_token_id: int = 255999
    eoi_token_id: int = 258882


# ── transformers' config.json. ──────────────────────────────────────────────────────────────────

_ACTIVATION = "gelu_pytorch_tanh"
_SLIDING, _FULL = "sliding_attention", "full_attention"
# Our fields of what is there where enable_moe_block is true.
_EXPERTS = {
    "experts": "num_experts",
    "experts_per_token": "top_k_experts",
    "expert_width": "moe_intermediate_size",
}
# What text_config and vision_config may leave out.
_TEXT = {
    "vocab_size": 262144,
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_hidden_layers": 30,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "max_position_embeddings": 131072,
    "rms_norm_eps": 1e-6,
    "sliding_window": 512,
    "hidden_size_per_layer_input": 256,
    "vocab_size_per_layer_input": 262144,
}
_VISION = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 16,
    "num_attention_heads": 12,
    "num_key_value_heads": 12,
    "head_dim": 64,
    "patch_size": 16,
    "pooling_kernel_size": 3,
    "position_embedding_size": 10240,
    "rms_norm_eps": 1e-6,
}


def from_hf(config: Mapping[str, Any], **compute: Any) -> ModelConfig:
    """Reads a transformers `config.json` of model type "gemma4". Its audio tower is no part of the
    model.

    Args:
        config: the parsed file; a key that is left out takes transformers' default.
        **compute: `dtype`, `param_dtype`, `remat`, `attention` of `ModelConfig`.

    Raises:
        ValueError: another model type, or a variant that this code does not compute.
    """
    config_json.require_family(config, "gemma4", "vision_config", "text_config")
    require(
        isinstance(config["vision_config"], Mapping),
        "vision_config is null: a model without a vision tower is not supported",
    )
    ids = {field: config[field] for field in SPECIAL_TOKENS if config.get(field) is not None}
    return ModelConfig(
        vision=_vision_from_hf(config["vision_config"]),
        text=_text_from_hf(config),
        **ids,
        **compute,
    )


def _vision_from_hf(given: Mapping[str, Any]) -> VisionConfig:
    vision: dict[str, Any] = {**_VISION, **given}
    for key, supported in (("hidden_activation", _ACTIVATION), ("attention_bias", False)):
        _require_value("vision_config", vision, key, supported)
    rope = dict(vision.get("rope_parameters") or {})
    kind = rope.get("rope_type", "axial")
    require(kind in ("axial", "default"), f"vision_config rope type {kind!r} is not supported")
    return VisionConfig(
        depth=vision["num_hidden_layers"],
        width=vision["hidden_size"],
        mlp_width=vision["intermediate_size"],
        heads=vision["num_attention_heads"],
        kv_heads=vision["num_key_value_heads"],
        head_dim=vision["head_dim"],
        patch_size=vision["patch_size"],
        merge_size=vision["pooling_kernel_size"],
        positions=vision["position_embedding_size"],
        rope_theta=float(rope.get("rope_theta", 100.0)),
        norm_eps=vision["rms_norm_eps"],
        clipped=bool(vision.get("use_clipped_linears", False)),
        standardize=bool(vision.get("standardize", False)),
    )


def _text_from_hf(config: Mapping[str, Any]) -> TextConfig:
    text: dict[str, Any] = {**_TEXT, **config["text_config"]}
    for key, supported in (
        ("hidden_activation", _ACTIVATION),
        ("attention_bias", False),
    ):
        _require_value("text_config", text, key, supported)
    depth, width = text["num_hidden_layers"], text["hidden_size_per_layer_input"] or 0
    require(
        not width or text["vocab_size_per_layer_input"] == text["vocab_size"],
        f"text_config.vocab_size_per_layer_input = {text['vocab_size_per_layer_input']} is not "
        f"vocab_size, {text['vocab_size']}, which is not supported",
    )
    two_way = text.get("use_bidirectional_attention")
    require(
        two_way in (None, "vision"),
        f"text_config.use_bidirectional_attention = {two_way!r} is not supported (only 'vision')",
    )
    types = list(
        text.get("layer_types") or [_FULL if i % 6 == 5 else _SLIDING for i in range(depth)]
    )
    require(
        len(types) == depth and set(types) <= {_SLIDING, _FULL},
        f"text_config.layer_types has {len(types)} entries {sorted(set(types))}: expected "
        f"num_hidden_layers ({depth}), each {_SLIDING} or {_FULL}",
    )
    types[-1] = _FULL  # transformers does the same
    full_layers = tuple(i for i, kind in enumerate(types) if kind == _FULL)
    own = _own_of_full_layers(text, full_layers)
    experts = _EXPERTS if text.get("enable_moe_block") else {}
    require(
        all(text.get(theirs) for theirs in experts.values()),
        f"text_config.enable_moe_block is true, which needs {', '.join(experts.values())}",
    )
    rope = text.get("rope_parameters") or {}
    sliding = {"rope_type": "default", "rope_theta": 10000.0} | (rope.get(_SLIDING) or {})
    full = rope.get(_FULL) or {
        "rope_type": "proportional",
        "rope_theta": 1_000_000.0,
        "partial_rotary_factor": 0.25,
    }
    for kind, numbers, supported in ((_SLIDING, sliding, "default"), (_FULL, full, "proportional")):
        require(
            numbers["rope_type"] == supported and numbers.get("factor", 1.0) == 1.0,
            f"text_config.rope_parameters.{kind} = {numbers} is not supported (only rope_type "
            f"{supported!r}, unscaled)",
        )
    return TextConfig(
        depth=depth,
        width=text["hidden_size"],
        mlp_width=text["intermediate_size"],
        heads=text["num_attention_heads"],
        kv_heads=text["num_key_value_heads"],
        vocab_size=text["vocab_size"],
        head_dim=text["head_dim"],
        rope_theta=float(sliding["rope_theta"]),
        norm_eps=text["rms_norm_eps"],
        tie_word_embeddings=bool(config.get("tie_word_embeddings", True)),
        max_positions=text["max_position_embeddings"],
        full_layers=full_layers,
        window=text["sliding_window"],
        full_head_dim=own["head_dim"],
        full_kv_heads=own["num_key_value_heads"],
        full_rope_theta=float(full["rope_theta"]),
        full_rotary=float(full.get("partial_rotary_factor", 1.0)),
        k_eq_v=bool(text.get("attention_k_eq_v", False)),
        shared_layers=text.get("num_kv_shared_layers") or 0,
        wide_shared=bool(text.get("use_double_wide_mlp", False)),
        layer_input_width=width,
        logit_cap=float(text.get("final_logit_softcapping") or 0.0),
        two_way_media=two_way == "vision",
        pad_id=text.get("pad_token_id") or 0,
        **{ours: text[theirs] for ours, theirs in experts.items()},
    )


def _own_of_full_layers(text: Mapping[str, Any], full_layers: tuple[int, ...]) -> dict[str, int]:
    """Head size and key heads of full layers: as the models were released, or layer by layer, as
    transformers 5.23 writes them."""
    base = {key: text[key] for key in ("head_dim", "num_key_value_heads")}
    given = text.get("per_layer_config")
    if given is None:
        own = base | {"head_dim": text.get("global_head_dim") or 512}
        if text.get("attention_k_eq_v") and text.get("num_global_key_value_heads") is not None:
            own["num_key_value_heads"] = text["num_global_key_value_heads"]
        return own
    by_layer = {int(i): base | dict(found) for i, found in given.items()}
    own = by_layer.get(full_layers[0], base)
    alike = all(
        by_layer.get(i, base) == (own if i in full_layers else base)
        for i in range(text["num_hidden_layers"])
    )
    require(
        alike and own.keys() == base.keys(),
        f"text_config.per_layer_config = {dict(given)} is not supported (only head_dim and "
        "num_key_value_heads, the same in all full layers)",
    )
    return own


def _require_value(part: str, found: Mapping[str, Any], key: str, supported: Any) -> None:
    value = found.get(key, supported)
    require(value == supported, f"{part}.{key} = {value!r} is not supported (only {supported!r})")


def to_hf(config: ModelConfig) -> dict[str, Any]:
    """A `config.json` that transformers reads; inverse of `from_hf`."""
    vision, text = config.vision, config.text
    kinds = [_FULL if i in text.full_layers else _SLIDING for i in range(text.depth)]
    return {
        "architectures": ["Gemma4ForConditionalGeneration"],
        "model_type": "gemma4",
        **{field: getattr(config, field) for field in SPECIAL_TOKENS},
        "tie_word_embeddings": text.tie_word_embeddings,
        "audio_config": None,
        "vision_config": {
            "model_type": "gemma4_vision",
            "num_hidden_layers": vision.depth,
            "hidden_size": vision.width,
            "intermediate_size": vision.mlp_width,
            "num_attention_heads": vision.heads,
            "num_key_value_heads": vision.kv_heads,
            "head_dim": vision.head_dim,
            "patch_size": vision.patch_size,
            "pooling_kernel_size": vision.merge_size,
            "position_embedding_size": vision.positions,
            "rms_norm_eps": vision.norm_eps,
            "hidden_activation": _ACTIVATION,
            "rope_parameters": {"rope_type": "axial", "rope_theta": vision.rope_theta},
            "use_clipped_linears": vision.clipped,
            "standardize": vision.standardize,
        },
        "text_config": {
            "model_type": "gemma4_text",
            "num_hidden_layers": text.depth,
            "hidden_size": text.width,
            "intermediate_size": text.mlp_width,
            "num_attention_heads": text.heads,
            "num_key_value_heads": text.kv_heads,
            "num_global_key_value_heads": text.full_kv_heads if text.k_eq_v else None,
            "head_dim": text.head_dim,
            "global_head_dim": text.full_head_dim,
            "vocab_size": text.vocab_size,
            "vocab_size_per_layer_input": text.vocab_size,
            "hidden_size_per_layer_input": text.layer_input_width,
            "rms_norm_eps": text.norm_eps,
            "hidden_activation": _ACTIVATION,
            "max_position_embeddings": text.max_positions,
            "layer_types": kinds,
            "sliding_window": text.window,
            "rope_parameters": {
                _SLIDING: {"rope_type": "default", "rope_theta": text.rope_theta},
                _FULL: {
                    "rope_type": "proportional",
                    "rope_theta": text.full_rope_theta,
                    "partial_rotary_factor": text.full_rotary,
                },
            },
            "attention_k_eq_v": text.k_eq_v,
            "num_kv_shared_layers": text.shared_layers,
            "use_double_wide_mlp": text.wide_shared,
            "final_logit_softcapping": text.logit_cap or None,
            "use_bidirectional_attention": "vision" if text.two_way_media else None,
            "tie_word_embeddings": text.tie_word_embeddings,
            "pad_token_id": text.pad_id,
            "enable_moe_block": text.experts > 0,
            **{theirs: getattr(text, ours) or None for ours, theirs in _EXPERTS.items()},
        },
    }


# ── Released models. ────────────────────────────────────────────────────────────────────────────


def _text(
    depth: int, width: int, heads: int, kv_heads: int, period: int, **more: Any
) -> TextConfig:
    """Every `period`-th layer is a full one. more: other numbers."""
    own = {"mlp_width": 4 * width, "full_kv_heads": kv_heads} | more
    return TextConfig(
        depth=depth,
        width=width,
        heads=heads,
        kv_heads=kv_heads,
        vocab_size=262144,
        full_layers=tuple(range(period - 1, depth, period)),
        logit_cap=30.0,
        **own,
    )


_LARGE_TOWER = VisionConfig(
    depth=27,
    width=1152,
    mlp_width=4304,
    heads=16,
    kv_heads=16,
    head_dim=72,
    clipped=False,
    standardize=True,
)

# google/gemma-4-{E2B,E4B,31B,26B-A4B}-it.
PUBLISHED = {
    "e2b": ModelConfig(
        VisionConfig(),
        _text(35, 1536, 8, 1, 5, shared_layers=20, wide_shared=True, layer_input_width=256),
    ),
    "e4b": ModelConfig(
        VisionConfig(), _text(42, 2560, 8, 2, 6, shared_layers=18, layer_input_width=256)
    ),
    "31b": ModelConfig(
        _LARGE_TOWER,
        _text(
            *(60, 5376, 32, 16, 6),
            full_kv_heads=4,
            k_eq_v=True,
            two_way_media=True,
            window=1024,
            max_positions=262144,
        ),
    ),
    "26b-a4b": ModelConfig(
        _LARGE_TOWER,
        _text(
            *(30, 2816, 16, 8, 6),
            mlp_width=2112,
            full_kv_heads=2,
            k_eq_v=True,
            two_way_media=True,
            window=1024,
            max_positions=262144,
            experts=128,
            experts_per_token=8,
            expert_width=704,
        ),
    ),
}
