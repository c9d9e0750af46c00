"""transformers' side of Qwen's families: the sizes that their processors state."""

from typing import Any

from vsft_jax.models.shared.hf.processor import Settings, require_processor
from vsft_jax.models.shared.qwen import VisionConfig

_IMAGES = ("Qwen2VLImageProcessor",)


def image_limits(settings: Settings, vision: VisionConfig) -> dict[str, Any]:
    """The layout's choices for images. Raises ValueError for what is not computed here."""
    _require(settings, _IMAGES, vision)
    # The class's own where the file has none.
    low, high = limits(settings, 56 * 56, 28 * 28 * 1280)
    return {"image_min_pixels": low, "image_max_pixels": high}


def require_clips(settings: Settings, vision: VisionConfig, *types: str) -> None:
    """Raises ValueError for a video processor of other types or with steps that are not computed
    here. Where a directory has none, transformers takes the keys of its image processor."""
    _require(settings, (*types, *_IMAGES), vision)


def limits(settings: Settings, low: int, high: int, *, by_name: bool = True) -> tuple[int, int]:
    """Least and most pixels, these where the file does not say.

    by_name: whether the processor looks at `min_pixels` and `max_pixels`, which then beat `size`.
    Raises ValueError for other kinds of sizes.
    """
    size = settings.get("size", {"shortest_edge": low, "longest_edge": high})
    settings.require(
        isinstance(size, dict) and not size.keys() & {"height", "width"},
        f"size = {size!r} is not supported (only shortest_edge and longest_edge, which are the "
        "least and the most pixels)",
    )
    found = []
    for key, edge in (("min_pixels", "shortest_edge"), ("max_pixels", "longest_edge")):
        value = size.get(edge)
        if by_name:
            value = settings.get(key, size.get(edge, size.get(key)))
        settings.require(
            isinstance(value, int) and value > 0,
            f"{key} (or size.{edge}) = {value!r}: expected a number of pixels",
        )
        found.append(value)
    settings.require(found[0] <= found[1], f"min_pixels {found[0]} is above max_pixels {found[1]}")
    return found[0], found[1]


def pixels_to_hf(vision: VisionConfig) -> dict[str, Any]:
    """The keys of preprocessor_config.json that are alike for images and clips."""
    return {
        "patch_size": vision.patch_size,
        "temporal_patch_size": vision.temporal_patch_size,
        "merge_size": vision.merge_size,
        "image_mean": list(vision.image_mean),
        "image_std": list(vision.image_std),
    }


def _require(settings: Settings, types: tuple[str, ...], vision: VisionConfig) -> None:
    require_processor(
        settings,
        types,
        patch_size=vision.patch_size,
        temporal_patch_size=vision.temporal_patch_size,
        merge_size=vision.merge_size,
    )
