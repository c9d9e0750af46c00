"""The towers of Qwen3-VL and Qwen3.5 in transformers' config.json."""

from collections.abc import Mapping
from typing import Any

from vsft_jax.models.shared.hf.config_json import require
from vsft_jax.models.shared.qwen import PositionedVisionConfig

_ACTIVATION = "gelu_pytorch_tanh"


def tower(vision: Mapping[str, Any], text_width: int) -> dict[str, Any]:
    """Fields of a `PositionedVisionConfig` for a vision_config.

    text_width: of the language model. Raises ValueError for what is not computed here.
    """
    for key, supported in (("hidden_act", _ACTIVATION), ("in_channels", 3)):
        value = vision.get(key, supported)
        require(
            value == supported,
            f"vision_config.{key} is {value!r}, only {supported!r} is supported",
        )
    positions = vision.get("num_position_embeddings", 2304)
    side = round(positions**0.5)
    require(
        side**2 == positions, f"vision_config.num_position_embeddings {positions} is not a square"
    )
    out = vision.get("out_hidden_size", 3584)
    require(
        out == text_width,
        f"vision_config.out_hidden_size {out} differs from the text hidden_size {text_width}",
    )
    return {
        "depth": vision.get("depth", 27),
        "width": vision.get("hidden_size", 1152),
        "mlp_width": vision.get("intermediate_size", 4304),
        "heads": vision.get("num_heads", 16),
        "patch_size": vision.get("patch_size", 16),
        "temporal_patch_size": vision.get("temporal_patch_size", 2),
        "merge_size": vision.get("spatial_merge_size", 2),
        "position_side": side,
        "rope_theta": float((vision.get("rope_parameters") or {}).get("rope_theta", 10000.0)),
    }


def tower_to_hf(vision: PositionedVisionConfig, text_width: int) -> dict[str, Any]:
    """Keys of a vision_config, inverse of `tower`."""
    return {
        "depth": vision.depth,
        "hidden_size": vision.width,
        "intermediate_size": vision.mlp_width,
        "num_heads": vision.heads,
        "hidden_act": _ACTIVATION,
        "patch_size": vision.patch_size,
        "temporal_patch_size": vision.temporal_patch_size,
        "spatial_merge_size": vision.merge_size,
        "num_position_embeddings": vision.position_side**2,
        "out_hidden_size": text_width,
        "rope_parameters": {"rope_type": "axial", "rope_theta": vision.rope_theta},
    }
