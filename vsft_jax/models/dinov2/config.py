"""The numbers of a DINOv2 model."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from vsft_jax.models.shared.block import BlockSpec
from vsft_jax.models.shared.config import Compute, check
from vsft_jax.models.shared.hf.config_json import require

# Pixel statistics of ImageNet, as in the models' preprocessor_config.json.
IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig(Compute):
    """The defaults are the published "small".

    image_size: side in pixels for which the positions were learned; others are interpolated.
    swiglu: a gated MLP, as in "giant".
    """

    depth: int = 12
    width: int = 384
    mlp_width: int = 1536
    heads: int = 6
    image_size: int = 518
    patch_size: int = 14
    swiglu: bool = False
    norm_eps: float = 1e-6
    image_mean: tuple[float, float, float] = IMAGE_MEAN
    image_std: tuple[float, float, float] = IMAGE_STD
    dtype: str = "float32"

    def __post_init__(self) -> None:
        super().__post_init__()
        check(
            self.width % self.heads == 0,
            f"DINOv2 width {self.width} must be a multiple of heads ({self.heads})",
        )

    @property
    def grid(self) -> int:
        """Learned positions on a side."""
        return self.image_size // self.patch_size

    @property
    def patch_columns(self) -> int:
        """Values of one patch, ordered (channel, row, column)."""
        return 3 * self.patch_size**2

    @property
    def block(self) -> BlockSpec:
        """One layer."""
        mlp = "swiglu" if self.swiglu else "gelu"
        return BlockSpec.of_tower(self, norm="layer", mlp=mlp, layer_scale=True)


def from_hf(config: Mapping[str, Any], **compute: Any) -> ModelConfig:
    """The ModelConfig of a transformers config.json; compute: fields of `Compute`.

    Raises ValueError for another model, or parts that are not computed here.
    """
    found = config.get("model_type")
    require(
        found == "dinov2",
        f"model_type {found!r} is not dinov2; take a model such as facebook/dinov2-small",
    )
    act = config.get("hidden_act", "gelu")
    require(act == "gelu", f"hidden_act {act!r} is not supported (only gelu)")
    require(config.get("qkv_bias", True), "qkv_bias is false, which is not supported")
    require(config.get("num_channels", 3) == 3, "num_channels is not 3")
    width, swiglu = config.get("hidden_size", 768), config.get("use_swiglu_ffn", False)
    mlp_width = int(width * config.get("mlp_ratio", 4))
    return ModelConfig(
        depth=config.get("num_hidden_layers", 12),
        width=width,
        # Gated, two thirds of it are as many parameters; rounded up to a multiple of 8.
        mlp_width=-(-int(mlp_width * 2 / 3) // 8) * 8 if swiglu else mlp_width,
        heads=config.get("num_attention_heads", 12),
        image_size=config.get("image_size", 224),
        patch_size=config.get("patch_size", 14),
        swiglu=swiglu,
        norm_eps=config.get("layer_norm_eps", 1e-6),
        **compute,
    )
