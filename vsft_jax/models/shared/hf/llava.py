"""transformers' side of the LLaVA families: config.json and checkpoints of a CLIP or SigLIP tower
joined to a Llama or Qwen2 decoder.

Follows transformers `models/llava{,_next_video,_onevision}/{configuration,modeling}_*.py`.
"""

from collections.abc import Callable, Mapping
from typing import Any

from vsft_jax.models.shared.config import ModelConfig, TextConfig
from vsft_jax.models.shared.hf import config_json
from vsft_jax.models.shared.hf.config_json import require
from vsft_jax.models.shared.hf.table import Tensor, decoder_rows, linear, norm, tensor
from vsft_jax.models.shared.patch_embed import CLIP_MEAN, CLIP_STD
from vsft_jax.models.shared.vit import VisionConfig

# ── Configs. ────────────────────────────────────────────────────────────────────────────────────

# transformers' model type -> ours, its activation if config.json is silent, pixel mean, deviation.
_TOWERS = {
    "clip_vision_model": ("clip", "quick_gelu", 1e-5, CLIP_MEAN, CLIP_STD),
    "siglip_vision_model": ("siglip", "gelu_pytorch_tanh", 1e-6, (0.5,) * 3, (0.5,) * 3),
}
_ACTIVATIONS = {"quick_gelu": "quick_gelu", "gelu": "gelu", "gelu_pytorch_tanh": "gelu_tanh"}
# transformers' model type -> what config.json may leave out.
_DECODERS: dict[str, dict[str, int | None]] = {
    "llama": {
        "vocab_size": 32000,
        "intermediate_size": 11008,
        "num_key_value_heads": None,
        "max_position_embeddings": 2048,
    },
    "qwen2": {
        "vocab_size": 151936,
        "intermediate_size": 22016,
        "num_key_value_heads": 32,
        "max_position_embeddings": 32768,
    },
}


# The tower of a config.json that leaves it out, in transformers' names.
CLIP_DEFAULTS = {
    "model_type": "clip_vision_model",
    "num_hidden_layers": 24,
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_attention_heads": 16,
    "image_size": 336,
    "patch_size": 14,
}
SIGLIP_DEFAULTS = {
    "model_type": "siglip_vision_model",
    "num_hidden_layers": 26,
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_attention_heads": 16,
    "image_size": 384,
    "patch_size": 14,
}


def require_llava(config: Mapping[str, Any], model_type: str) -> None:
    """Raises ValueError for another family's config.json, or parts that are not computed here."""
    config_json.require_family(config, model_type, "vision_config", "text_config")
    act = config.get("projector_hidden_act", "gelu")
    require(act == "gelu", f"projector_hidden_act {act!r} is not supported (only gelu)")
    bias = config.get("multimodal_projector_bias", True)
    require(bias, "multimodal_projector_bias is false, which is not supported")


def vision_numbers(
    config: Mapping[str, Any], defaults: Mapping[str, Any], feature_layer: int
) -> dict[str, Any]:
    """Fields of `vit.VisionConfig` from a config.json, which may list only what differs.

    defaults: the family's, in transformers' names; feature_layer: its `vision_feature_layer`.

    Raises ValueError for a tower or a choice of features that is not computed here.
    """
    vision = {**defaults, **config["vision_config"]}
    model_type = vision["model_type"]
    known = list(_TOWERS)
    require(model_type in known, f"vision_config.model_type {model_type!r} is not one of {known}")
    kind, activation, eps, mean, std = _TOWERS[model_type]
    activation = vision.get("hidden_act", activation)
    require(activation in _ACTIVATIONS, f"vision_config.hidden_act {activation!r} is unknown")
    layer = config.get("vision_feature_layer", feature_layer)
    require(isinstance(layer, int), f"vision_feature_layer {layer!r} must be one layer")
    # Features of patches alone: CLIP's first place is the class token, SigLIP has none.
    wanted = "default" if kind == "clip" else "full"
    strategy = config.get("vision_feature_select_strategy", wanted)
    require(
        strategy == wanted,
        f"vision_feature_select_strategy {strategy!r} with a {kind} tower is not supported "
        f"(only {wanted})",
    )
    return {
        "kind": kind,
        "depth": vision["num_hidden_layers"],
        "width": vision["hidden_size"],
        "mlp_width": vision["intermediate_size"],
        "heads": vision["num_attention_heads"],
        "image_size": vision["image_size"],
        "patch_size": vision["patch_size"],
        "feature_layer": layer,
        "norm_eps": vision.get("layer_norm_eps", eps),
        "activation": _ACTIVATIONS[activation],
        "image_mean": mean,
        "image_std": std,
    }


def token_id(config: Mapping[str, Any], kind: str, default: int) -> int:
    """Id of the placeholder of "image" or "video"; versions of transformers name its key
    differently."""
    found = config.get(f"{kind}_token_index", config.get(f"{kind}_token_id"))
    return default if found is None else found


def canvases(
    config: Mapping[str, Any], default: tuple[tuple[int, int], ...]
) -> tuple[tuple[int, int], ...]:
    """`image_grid_pinpoints`: (height, width) in pixels."""
    return tuple((int(h), int(w)) for h, w in config.get("image_grid_pinpoints") or default)


def to_hf(config: ModelConfig) -> dict[str, Any]:
    """The keys of config.json that are alike in all families."""
    vision, text = config.vision, config.text
    return {
        "projector_hidden_act": "gelu",
        "multimodal_projector_bias": True,
        "vision_feature_layer": vision.feature_layer,
        "vision_feature_select_strategy": "default" if vision.class_token else "full",
        "tie_word_embeddings": text.tie_word_embeddings,
        "vision_config": vision_to_hf(vision),
        "text_config": text_to_hf(text),
    }


def vision_to_hf(vision: VisionConfig) -> dict[str, Any]:
    """`vision_config` of a config.json; inverse of `vision_numbers`."""
    activation = {ours: theirs for theirs, ours in _ACTIVATIONS.items()}[vision.activation]
    found = {
        "model_type": f"{vision.kind}_vision_model",
        "num_hidden_layers": vision.depth,
        "hidden_size": vision.width,
        "intermediate_size": vision.mlp_width,
        "num_attention_heads": vision.heads,
        "image_size": vision.image_size,
        "patch_size": vision.patch_size,
        "hidden_act": activation,
        "layer_norm_eps": vision.norm_eps,
    }
    # SigLIP's pooling head plays no part; without this transformers would miss its weights.
    return found if vision.class_token else {**found, "vision_use_head": False}


def text_from_hf(
    config: Mapping[str, Any], kind: Callable[..., TextConfig] = TextConfig
) -> TextConfig:
    """The language model of a config.json, which may list only what differs from the defaults.

    kind: the family's own TextConfig.

    Raises ValueError for a decoder that is not computed here.
    """
    given = config["text_config"]
    model_type = given.get("model_type", "llama")
    require(
        model_type in _DECODERS, f"text_config.model_type {model_type!r}: use {list(_DECODERS)}"
    )
    text = {**_DECODERS[model_type], **given}
    for key, supported in (
        ("hidden_act", "silu"),
        ("attention_bias", False),
        ("mlp_bias", False),
        ("use_sliding_window", False),
    ):
        value = text.get(key, supported)
        require(value == supported, f"text_config.{key} = {value!r} is not supported")
    rope, rope_type = config_json.rope(text), config_json.rope_type(text, ("default", "linear"))
    width, heads = text.get("hidden_size", 4096), text.get("num_attention_heads", 32)
    return kind(
        depth=text.get("num_hidden_layers", 32),
        width=width,
        mlp_width=text["intermediate_size"],
        heads=heads,
        kv_heads=text["num_key_value_heads"] or heads,
        vocab_size=text["vocab_size"],
        head_dim=text.get("head_dim") or width // heads,
        rope_theta=float(rope.get("rope_theta", text.get("rope_theta", 10000.0))),
        rope_factor=float(rope.get("factor", 1.0)) if rope_type == "linear" else 1.0,
        norm_eps=text.get("rms_norm_eps", 1e-6),
        tie_word_embeddings=config_json.tied(config, text),
        qkv_bias=model_type == "qwen2",
        max_positions=text["max_position_embeddings"],
    )


def text_to_hf(text: TextConfig) -> dict[str, Any]:
    """`text_config` of a config.json; inverse of `text_from_hf`.

    Rotary numbers stand in it twice: as transformers 5 reads them, and as 4.5x does.
    """
    linear_scaling = text.rope_factor != 1.0
    kind = {"rope_type": "linear", "factor": text.rope_factor} if linear_scaling else None
    return {
        "model_type": "qwen2" if text.qkv_bias else "llama",
        "max_position_embeddings": text.max_positions,
        "num_hidden_layers": text.depth,
        "hidden_size": text.width,
        "intermediate_size": text.mlp_width,
        "num_attention_heads": text.heads,
        "num_key_value_heads": text.kv_heads,
        "head_dim": text.head_dim,
        "vocab_size": text.vocab_size,
        "rms_norm_eps": text.norm_eps,
        "tie_word_embeddings": text.tie_word_embeddings,
        "rope_theta": text.rope_theta,
        "rope_scaling": kind,
        "rope_parameters": {"rope_theta": text.rope_theta, **(kind or {"rope_type": "default"})},
    }


# ── Checkpoints. ────────────────────────────────────────────────────────────────────────────────

_TOWER = "model.vision_tower"
_PROJECTOR = "model.multi_modal_projector"
_NEWLINE = "model.image_newline"


def checkpoint_rows(config: ModelConfig, *, newline: bool) -> list[Tensor]:
    """Every tensor of a checkpoint."""
    rows = tower_rows(config.vision, _TOWER)
    rows += linear(f"{_PROJECTOR}.linear_1", "merger/fc1", bias=True)
    rows += linear(f"{_PROJECTOR}.linear_2", "merger/fc2", bias=True)
    if newline:
        rows.append(tensor(_NEWLINE, "merger/newline"))
    return rows + _unused(config.vision) + decoder_rows(config.text)


def tower_rows(vision: VisionConfig, tower: str) -> list[Tensor]:
    """Tensors of a CLIP or SigLIP tower, named `tower`, up to the last layer that is used."""
    embeddings = f"{tower}.embeddings"
    rows = [
        tensor(
            f"{embeddings}.patch_embedding.weight",
            "visual/patch_embed/kernel",
            transpose=True,
            shape=(vision.width, 3, vision.patch_size, vision.patch_size),
        ),
        tensor(f"{embeddings}.position_embedding.weight", "visual/position"),
    ]
    if vision.class_token:
        rows.append(tensor(f"{embeddings}.class_embedding", "visual/class_token"))
        # Their spelling.
        rows += norm(f"{tower}.pre_layrnorm", "visual/pre_norm", bias=True)
    else:
        rows.append(tensor(f"{embeddings}.patch_embedding.bias", "visual/patch_embed/bias"))
    layer, block, depth = f"{tower}.encoder.layers.{{i}}", "visual/blocks", vision.used_depth
    for theirs, ours in (("layer_norm1", "norm1"), ("layer_norm2", "norm2")):
        rows += norm(f"{layer}.{theirs}", f"{block}/{ours}", depth, bias=True)
    for theirs, ours in _LAYER_PARTS.items():
        rows += linear(f"{layer}.{theirs}", f"{block}/{ours}", depth=depth, bias=True)
    return rows


_LAYER_PARTS = {
    "self_attn.q_proj": "q",
    "self_attn.k_proj": "k",
    "self_attn.v_proj": "v",
    "self_attn.out_proj": "o",
    "mlp.fc1": "mlp/up",
    "mlp.fc2": "mlp/down",
}


def _unused(vision: VisionConfig) -> list[Tensor]:
    """What checkpoints hold of the tower and the features do not depend on: its last layers and
    closing normalisation. Written back as layers that change nothing."""
    width, inner = vision.width, vision.mlp_width
    vector = {"self_attn.q_proj": (width, width), "mlp.fc1": (inner, width)}
    vector |= {f"self_attn.{part}_proj": (width, width) for part in ("k", "v", "out")}
    vector |= {"mlp.fc2": (width, inner)}
    norms, rows = [f"{_TOWER}.post_layernorm"], []
    for i in range(vision.used_depth, vision.depth):
        layer = f"{_TOWER}.encoder.layers.{i}"
        norms += [f"{layer}.layer_norm1", f"{layer}.layer_norm2"]
        for name, shape in vector.items():
            rows.append(Tensor(f"{layer}.{name}.weight", (), shape=shape))
            rows.append(Tensor(f"{layer}.{name}.bias", (), shape=shape[:1]))
    for name in norms:
        rows.append(Tensor(f"{name}.weight", (), shape=(width,), fill=1.0))
        rows.append(Tensor(f"{name}.bias", (), shape=(width,)))
    return rows


def canonical_name(name: str) -> str | None:
    """A tensor's name in the table; None for one that has no place in it.

    Checkpoints hold `language_model.model.*`, `vision_tower.vision_model.*` and so on, as released;
    the same under `model.`, with and without `vision_model.`, as versions of transformers write.
    """
    name = name.removeprefix("model.")
    for old, new in (
        ("language_model.lm_head.", "lm_head."),
        ("language_model.model.", "language_model."),
        ("vision_tower.vision_model.", "vision_tower."),
    ):
        if name.startswith(old):
            name = new + name.removeprefix(old)
    # SigLIP's pooling head, and positions that older versions stored as a buffer.
    if name.startswith("vision_tower.head.") or name.endswith(
        ("position_ids", "rotary_emb.inv_freq")
    ):
        return None
    return name if name.startswith("lm_head.") else f"model.{name}"


def released_name(name: str) -> str:
    """The published name of one of the table's tensors."""
    name = name.removeprefix("model.")
    for old, new in (
        ("lm_head.", "language_model.lm_head."),
        ("language_model.", "language_model.model."),
        ("vision_tower.", "vision_tower.vision_model."),
    ):
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name
