"""transformers' processors of the LLaVA families: what they state of squares, and their files.

Follows transformers `models/{clip,siglip,llava,llava_next,llava_onevision}/image_processing_*.py`.
"""

from collections.abc import Mapping
from typing import Any

from input_pipeline.layout.tiles import Fit, Size
from vsft_jax.models.shared.hf.processor import Settings, Stated, require_processor
from vsft_jax.models.shared.vit import VisionConfig

# ── Reading. ────────────────────────────────────────────────────────────────────────────────────

# Image processors that make one square of a picture -> their class's own settings.
_CROPPED = {"size": {"shortest_edge": 224}, "crop_size": 224, "do_center_crop": True}
_SQUARES: Mapping[str, Mapping[str, Any]] = {
    "LlavaImageProcessor": _CROPPED,
    "CLIPImageProcessor": _CROPPED,
    "SiglipImageProcessor": {"size": {"height": 224, "width": 224}},
}


def picture_fit(settings: Settings, vision: VisionConfig) -> Fit:
    """How a picture becomes the tower's square. Raises ValueError for what is not computed here."""
    require_processor(settings, tuple(_SQUARES))
    kind = settings.get("image_processor_type", "LlavaImageProcessor")
    kind = kind.removesuffix("Fast").removesuffix("Pil")
    if kind == "LlavaImageProcessor" and settings.get("do_pad", False):
        return "pad"
    return _fit(settings, vision.image_size, _SQUARES[kind])


def require_frames(settings: Settings, vision: VisionConfig, fit: Fit, *types: str) -> None:
    """Raises ValueError unless frames of clips become the tower's squares by `fit`."""
    require_processor(settings, types)
    own = _CROPPED if fit == "crop" else {"size": {"height": 384, "width": 384}}
    found = _fit(settings, vision.image_size, own)
    settings.require(
        found == fit, f"frames of clips by {found!r} are not supported (only by {fit!r})"
    )


def require_tiles(
    settings: Settings, vision: VisionConfig, canvases: tuple[Size, ...], *types: str
) -> None:
    """Raises ValueError unless images are cut into tiles of the tower's size, on these canvases."""
    require_processor(settings, types)
    side = vision.image_size
    size = _sides(settings.get("size", side))
    settings.require(
        min(size.values()) == side,
        f"size = {size}, but the tower's input is {side} pixels a side",
    )
    if settings.get("do_center_crop", False):
        crop = _sides(settings.get("crop_size", side), "height", "width")
        settings.require(
            set(crop.values()) == {side},
            f"crop_size = {crop}, but the tower's input is {side} pixels a side",
        )
    stated = settings.get("image_grid_pinpoints")
    if stated is not None:
        given = {(int(height), int(width)) for height, width in stated}
        settings.require(
            given == set(canvases),
            f"image_grid_pinpoints has {len(given)} canvases that are not the {len(canvases)} of "
            "config.json: transformers would count other tokens than the model expects",
        )


def require_counts(stated: Stated, vision: VisionConfig) -> None:
    """Raises ValueError unless the processor counts as many tokens as the tower has features."""
    features = (vision.image_size // vision.patch_size) ** 2
    for key, value in (
        ("patch_size", vision.patch_size),
        ("num_image_tokens", features),
        ("num_additional_image_tokens", int(vision.class_token)),
        ("vision_feature_select_strategy", "default" if vision.class_token else "full"),
    ):
        found = stated.whole.get(key, value)
        stated.whole.require(found == value, f"{key} = {found!r}, but the tower's is {value!r}")


def _fit(settings: Settings, side: int, own: Mapping[str, Any]) -> Fit:
    """What becomes of a picture: cropped or stretched to a square. own: the class's settings."""
    size = _sides(settings.get("size", own["size"]))
    square = {"height": side, "width": side}
    if settings.get("do_center_crop", own.get("do_center_crop", False)):
        crop = _sides(settings.get("crop_size", own.get("crop_size", side)), "height", "width")
        if crop == square and size == {"shortest_edge": side}:
            return "crop"
        if crop == square and size == square:
            return "stretch"
        said = f"size = {size} with crop_size = {crop}"
    else:
        if size == square:
            return "stretch"
        said = f"size = {size} without do_center_crop"
    raise ValueError(
        f"{settings.file}: {said} makes no square of {side} pixels a side, the tower's input"
    )


def _sides(size: Any, *names: str) -> dict[str, int]:
    """A size as older files have it, one number, or as a mapping."""
    if isinstance(size, int):
        return dict.fromkeys(names or ("shortest_edge",), size)
    return {key: value for key, value in dict(size).items() if value is not None}


# ── Writing. ────────────────────────────────────────────────────────────────────────────────────


def pixels_to_hf(vision: VisionConfig) -> dict[str, Any]:
    """The keys of preprocessor_config.json that are alike for images and clips of all families."""
    return {
        "do_convert_rgb": True,
        "do_resize": True,
        "resample": 3,  # bicubic
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(vision.image_mean),
        "image_std": list(vision.image_std),
    }


def cropped(side: int) -> dict[str, Any]:
    """Keys of preprocessor_config.json: the shorter edge resized, the centre kept."""
    return {
        "size": {"shortest_edge": side},
        "do_center_crop": True,
        "crop_size": {"height": side, "width": side},
    }


def stretched(side: int) -> dict[str, Any]:
    """Keys of preprocessor_config.json: resized to a square whatever the aspect ratio."""
    return {"size": {"height": side, "width": side}, "do_center_crop": False}
