"""Every number of the Qwen3-VL architecture, as frozen dataclasses."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from vsft_jax.models.shared import config as shared
from vsft_jax.models.shared import qwen
from vsft_jax.models.shared.config import check
from vsft_jax.models.shared.hf import config_json, qwen_config_json
from vsft_jax.models.shared.hf.config_json import require
from vsft_jax.models.shared.qwen import SPECIAL_TOKENS

__all__ = ["PUBLISHED", "SPECIAL_TOKENS", "ModelConfig", "TextConfig", "VisionConfig"]


@dataclasses.dataclass(frozen=True)
class VisionConfig(qwen.PositionedVisionConfig):
    """The vision tower; the defaults are that of the 8B and 32B models.

    deepstack_layers: layers whose outputs also go to the language model, counted from 0; what
        comes after the i-th of them is added after its layer i.
    """

    deepstack_layers: tuple[int, ...] = (8, 16, 24)

    def __post_init__(self) -> None:
        super().__post_init__()
        layers = self.deepstack_layers
        check(
            0 < len(layers) == len(set(layers))
            and list(layers) == sorted(layers)
            and 0 <= layers[0] <= layers[-1] < self.depth,
            f"deepstack_layers {layers} must be layers of a tower of depth {self.depth}, in order",
        )


@dataclasses.dataclass(frozen=True)
class TextConfig(shared.TextConfig):
    """A Qwen3 decoder with three-dimensional positions. With experts mlp_width is that of one."""

    rope_theta: float = 5_000_000.0
    mrope_section: tuple[int, ...] = (24, 20, 20)
    mrope_interleaved: bool = True
    qk_norm: bool = True
    max_positions: int = 262144


@dataclasses.dataclass(frozen=True)
class ModelConfig(qwen.PositionedModelConfig):
    """See `shared.config.ModelConfig`."""

    vision: VisionConfig

    def __post_init__(self) -> None:
        super().__post_init__()
        taps = len(self.vision.deepstack_layers)
        check(
            taps <= self.text.depth,
            f"{taps} deepstack_layers of the tower need as many text layers, not {self.text.depth}",
        )


_MOE = "qwen3_vl_moe"
# transformers' defaults of text_config by model type, where they differ.
_TEXT_DEFAULTS: dict[str, dict[str, Any]] = {
    "qwen3_vl": {
        "num_hidden_layers": 32,
        "hidden_size": 4096,
        "intermediate_size": 22016,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "head_dim": 128,
    },
    _MOE: {
        "num_hidden_layers": 24,
        "hidden_size": 2048,
        "moe_intermediate_size": 1408,
        "num_attention_heads": 16,
        "num_key_value_heads": 16,
        "num_experts_per_tok": 4,
        "router_aux_loss_coef": 0.001,
    },
}


def from_hf(config: Mapping[str, Any], **compute: Any) -> ModelConfig:
    """Reads a transformers `config.json` of model type "qwen3_vl" or "qwen3_vl_moe".

    Args:
        config: the parsed file. A key that is left out takes transformers' default, because saved
            configs may list only what differs from it.
        **compute: `dtype`, `param_dtype`, `remat`, `attention` of `ModelConfig`.

    Raises:
        ValueError: another model type, a variant that this code does not compute, or no rope_theta,
            whose default is not the same in all versions of transformers.
    """
    config_json.require_family(config, tuple(_TEXT_DEFAULTS), "text_config", "vision_config")
    kind, vision = config["model_type"], config["vision_config"]
    text = {**_TEXT_DEFAULTS[kind], **config["text_config"]}
    rope = config_json.rope(text)
    config_json.rope_type(text, ("default", "yarn"))
    theta: Any = rope.get("rope_theta", text.get("rope_theta"))
    require(theta is not None, "text_config has no rope_theta")
    for key, value, supported in (
        ("text_config.mrope_interleaved", rope.get("mrope_interleaved", True), True),
        ("text_config.hidden_act", text.get("hidden_act", "silu"), "silu"),
        ("text_config.attention_bias", text.get("attention_bias", False), False),
    ):
        require(value == supported, f"{key} is {value!r}, only {supported!r} is supported")

    # transformers looks on top alone here, while its other families also take the text's word. With
    # experts it writes a true one into text_config that nobody said.
    require(
        kind == _MOE
        or config.get("tie_word_embeddings") is not False
        or not text.get("tie_word_embeddings"),
        "tie_word_embeddings is false on top and true in text_config: make both true where the "
        "checkpoint has no lm_head.weight, else both false",
    )

    heads = text["num_attention_heads"]
    max_positions = text.get("max_position_embeddings", 128000)
    experts = _experts(text) if kind == _MOE else {"mlp_width": text["intermediate_size"]}
    text_config = TextConfig(
        depth=text["num_hidden_layers"],
        width=text["hidden_size"],
        heads=heads,
        kv_heads=text["num_key_value_heads"] or heads,
        vocab_size=text.get("vocab_size", 151936),
        head_dim=text.get("head_dim") or text["hidden_size"] // heads,
        rope_theta=float(theta),
        mrope_section=tuple(rope.get("mrope_section", (24, 20, 20))),
        norm_eps=text.get("rms_norm_eps", 1e-6),
        tie_word_embeddings=config_json.tied(config, {} if kind == _MOE else text),
        max_positions=max_positions,
        **experts,
        **config_json.yarn(text, max_positions),
    )
    vision_config = VisionConfig(
        **qwen_config_json.tower(vision, text_config.width),
        deepstack_layers=tuple(vision.get("deepstack_visual_indexes", (8, 16, 24))),
    )
    ids = {name: config[name] for name in SPECIAL_TOKENS if config.get(name) is not None}
    return ModelConfig(vision_config, text_config, **ids, **compute)


def _experts(text: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of `TextConfig` for the experts of a text_config. Raises ValueError where they are not
    in every layer, or not weighted as transformers does it."""
    for key, value, wanted in (
        ("decoder_sparse_step", text.get("decoder_sparse_step", 1), 1),
        ("mlp_only_layers", list(text.get("mlp_only_layers") or []), []),
        # transformers does not read it, and scales as if it were true.
        ("norm_topk_prob", text.get("norm_topk_prob", True), True),
    ):
        require(value == wanted, f"text_config.{key} is {value!r}, only {wanted!r} is supported")
    experts = text.get("num_local_experts", text.get("num_experts", 60))
    require(experts > 0, f"text_config.num_experts is {experts}: expected at least 1")
    return {
        "mlp_width": text["moe_intermediate_size"],
        "experts": experts,
        "experts_per_token": text["num_experts_per_tok"],
        "router_coef": text["router_aux_loss_coef"],
    }


def _experts_to_hf(text: shared.TextConfig) -> dict[str, Any]:
    """Keys of a text_config for the MLPs, inverse of `_experts`."""
    if not text.experts:
        return {"model_type": "qwen3_vl_text", "intermediate_size": text.mlp_width}
    return {
        "model_type": f"{_MOE}_text",
        "moe_intermediate_size": text.mlp_width,
        "num_experts": text.experts,
        "num_experts_per_tok": text.experts_per_token,
        "norm_topk_prob": True,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
        "router_aux_loss_coef": text.router_coef,
    }


def to_hf(config: ModelConfig) -> dict[str, Any]:
    """A `config.json` that transformers reads; inverse of `from_hf`.

    Rotary numbers stand in it twice: as transformers 5 reads them, and as 4.57 does.
    """
    text, vision = config.text, config.vision
    kind = _MOE if text.experts else "qwen3_vl"
    rope = {
        "rope_type": "default",
        "mrope_section": list(text.mrope_section),
        "mrope_interleaved": True,
        **config_json.yarn_to_hf(text),
    }
    return {
        "architectures": [f"Qwen3VL{'Moe' * bool(text.experts)}ForConditionalGeneration"],
        "model_type": kind,
        **{name: getattr(config, name) for name in SPECIAL_TOKENS},
        "tie_word_embeddings": text.tie_word_embeddings,
        "text_config": {
            **_experts_to_hf(text),
            "num_hidden_layers": text.depth,
            "hidden_size": text.width,
            "num_attention_heads": text.heads,
            "num_key_value_heads": text.kv_heads,
            "head_dim": text.head_dim,
            "vocab_size": text.vocab_size,
            "rms_norm_eps": text.norm_eps,
            "tie_word_embeddings": text.tie_word_embeddings,
            "max_position_embeddings": text.max_positions,
            "rope_theta": text.rope_theta,
            "rope_scaling": rope,
            "rope_parameters": {**rope, "rope_theta": text.rope_theta},
        },
        "vision_config": {
            # The name that every version reads.
            "model_type": kind,
            **qwen_config_json.tower_to_hf(vision, text.width),
            "deepstack_visual_indexes": list(vision.deepstack_layers),
        },
    }


_SMALL_TOWER = VisionConfig(24, 1024, 4096, deepstack_layers=(5, 11, 17))


def _tied(text: TextConfig) -> TextConfig:
    return dataclasses.replace(text, tie_word_embeddings=True)


def _sparse(text: TextConfig) -> TextConfig:
    return dataclasses.replace(text, experts=128, experts_per_token=8, router_coef=0.001)


# config.json of Qwen/Qwen3-VL-{2B,4B,8B,32B,30B-A3B,235B-A22B}-Instruct.
PUBLISHED = {
    "2b": ModelConfig(_SMALL_TOWER, _tied(TextConfig(28, 2048, 6144, 16, 8, 151936))),
    "4b": ModelConfig(_SMALL_TOWER, _tied(TextConfig(36, 2560, 9728, 32, 8, 151936))),
    "8b": ModelConfig(VisionConfig(), TextConfig(36, 4096, 12288, 32, 8, 151936)),
    "32b": ModelConfig(VisionConfig(), TextConfig(64, 5120, 25600, 64, 8, 151936)),
    "30b-a3b": ModelConfig(VisionConfig(), _sparse(TextConfig(48, 2048, 768, 32, 4, 151936))),
    "235b-a22b": ModelConfig(VisionConfig(), _sparse(TextConfig(94, 4096, 1536, 64, 4, 151936))),
}
