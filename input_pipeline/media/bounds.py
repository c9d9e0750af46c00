"""Bounds on what the outside world may hand us. A medium beyond one is refused by name."""

from input_pipeline.media.errors import MediaError

MAX_IMAGE_BYTES = 256 * 2**20
MAX_IMAGE_PIXELS = 2**27  # 134 megapixels: 400 MB decoded
MAX_VIDEO_BYTES = 16 * 2**30
MAX_FRAME_PIXELS = 2**25  # 33.5 megapixels: 8K video
MAX_FRAMES = 2_000_000
MAX_DURATION_S = 12 * 3600.0


def check_bytes(path: str, count: int, most: int) -> None:
    """Raises MediaError when there are no bytes, or more than `most`."""
    if count == 0:
        raise MediaError(path, "empty", "there are no bytes")
    if count > most:
        raise MediaError(path, "too_large", f"{count} bytes, the bound is {most} bytes")


def check_image_pixels(path: str, width: int, height: int) -> None:
    """Raises MediaError when an image exceeds the bound."""
    _check_pixels(path, width, height, MAX_IMAGE_PIXELS)


def check_frame_pixels(path: str, width: int, height: int) -> None:
    """Raises MediaError when a frame of a video exceeds the bound."""
    _check_pixels(path, width, height, MAX_FRAME_PIXELS)


def check_frame_count(path: str, frames: int) -> None:
    """Raises MediaError when a video has more frames than the bound."""
    if frames > MAX_FRAMES:
        raise MediaError(path, "too_long", f"more than {MAX_FRAMES} frames")


def check_duration(path: str, seconds: float) -> None:
    """Raises MediaError when a video is longer than the bound."""
    if seconds > MAX_DURATION_S:
        raise MediaError(path, "too_long", f"{seconds:.0f} s, the bound is {MAX_DURATION_S:.0f} s")


def _check_pixels(path: str, width: int, height: int, most: int) -> None:
    if width * height > most:
        raise MediaError(path, "too_many_pixels", f"{width}x{height}, the bound is {most} pixels")
