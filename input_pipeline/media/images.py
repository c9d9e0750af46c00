"""Image files: what they say about themselves, and their pixels.

The header comes first because a file of a few kilobytes can declare a picture of gigabytes. Pillow
reads it, without decoding a pixel. Its readers are called without `Image.open`, which warns of
pictures that are within our bound, and tries forty formats on a file that is none of ours. The
pixels are OpenCV's, but for formats that it reads in part or only where it was built with them.
"""

import contextlib
import dataclasses
import importlib
import io
import re
import struct
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

import cv2
import numpy as np

from input_pipeline.media import bounds
from input_pipeline.media.errors import MediaError
from input_pipeline.media.resizing import Orientation
from input_pipeline.media.sources import read_source

if TYPE_CHECKING:  # Pillow is imported when the first image comes: most workers see videos alone
    from PIL.ImageFile import ImageFile

# Format -> how its files begin, and the name of Pillow's reader, imported when the first one comes.
_FORMATS = {
    "jpeg": (rb"\xff\xd8\xff", "Jpeg"),
    "png": (rb"\x89PNG\r\n\x1a\n", "Png"),
    "webp": (rb"RIFF....WEBP", "WebP"),
    "gif": (rb"GIF8[79]a", "Gif"),
    "bmp": (rb"BM", "Bmp"),
    "tiff": (rb"II\*\0|MM\0\*", "Tiff"),
    "avif": (rb"....ftypavi[fs]", "Avif"),
}
_HEIF = re.compile(rb"....ftyp(hei[cxms]|hev[cxms]|mif1|msf1)", re.DOTALL)
START_BYTES = 12  # of a file, enough to tell its format
_DECLARED_LENGTH = {"webp": (4, 8), "bmp": (2, 0)}  # its place, and how much the file is longer
_ORIENTATION = 0x0112  # TIFF 6.0, tag 274
_KEEPS_ALPHA = frozenset({"png", "webp", "gif"})  # what OpenCV reads as it is stored
_BY_PILLOW = frozenset({"tiff", "avif"})
# What its pixels depend on. Of the others libpng warns, on the console and without end.
_PNG_PIXELS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_MAX_PNG_CHUNKS = 2**20
_PLAIN_MODES = frozenset({"1", "L", "P", "RGB", "CMYK", "YCbCr"})
_ALPHA_MODES = frozenset({"LA", "PA", "RGBA", "La", "RGBa"})

# Pillow warns of damage that is told by errors here or does not matter, and of large pictures. Once
# for all: setting it for each call would not be safe in threads.
warnings.filterwarnings("ignore", module=r"PIL\.")


@dataclasses.dataclass(frozen=True)
class ImageHeader:
    """width, height: pixels as decoded, before the orientation is applied.
    orientation: EXIF value 1-8 (TIFF 6.0, tag 274)."""

    format: str
    width: int
    height: int
    orientation: int = 1

    @property
    def displayed_size(self) -> tuple[int, int]:
        """(width, height) after the orientation is applied."""
        size = self.width, self.height
        return size[::-1] if self.upright.swaps else size

    @property
    def upright(self) -> Orientation:
        """5-8 swap rows and columns; 1-4 and 5-8 then exchange no sides, left and right, both, top
        and bottom."""
        sides = (self.orientation - 1) % 4
        return Orientation(self.orientation >= 5, sides in (1, 2), sides in (2, 3))


def image_format(start: bytes) -> str | None:
    """ "jpeg", "png", "webp", "gif", "bmp", "tiff" or "avif", as the first `START_BYTES` bytes of a
    file tell; None for anything else."""
    for name, (pattern, _) in _FORMATS.items():
        if re.match(pattern, start, re.DOTALL):
            return name
    return None


def is_heif(start: bytes) -> bool:
    """Whether a file begins as HEIC pictures do: MP4 boxes, but tiles of a picture for tracks."""
    return _HEIF.match(start) is not None


def load_image(path: str) -> tuple[bytes, ImageHeader]:
    """The bytes of an image file and its header, within the bounds. Raises MediaError."""
    data = read_source(path, bounds.MAX_IMAGE_BYTES)
    return data, _read_header(path, data)


def read_image(path: str) -> np.ndarray:
    """An image file -> uint8[H, W, 3], RGB: EXIF orientation applied, transparency over white,
    grey repeated, 16 bits reduced to 8, the first picture of an animation.

    Raises MediaError.
    """
    data, header = load_image(path)
    by_pillow = header.format in _BY_PILLOW or _is_old_bitmap(data) or _is_keyed_grey(path, data)
    pixels = (_pillow_pixels if by_pillow else _opencv_pixels)(path, data, header)
    if pixels.shape[:2] != (header.height, header.width):
        raise MediaError(
            path,
            "corrupt",
            f"header says {header.width}x{header.height}, data {pixels.shape[1]}x{pixels.shape[0]}",
        )
    return np.ascontiguousarray(header.upright(to_rgb(pixels)))


# ── Headers. ────────────────────────────────────────────────────────────────────────────────────


def _read_header(path: str, data: bytes) -> ImageHeader:
    """The header of an image file.

    data: the whole file. Raises MediaError for what is not an image, is damaged, ends before its
    end marker or declared length, or has more pixels than the bound.
    """
    name = image_format(data)
    if name is None:
        known = ", ".join(_FORMATS)
        found = f"starts with {data[:8]!r}"
        if is_heif(data):
            found = "it is a HEIC picture: save it as one of them, as with pillow-heif"
        raise MediaError(path, "unsupported_format", f"not one of {known}; {found}")
    if name in _DECLARED_LENGTH:  # first, since Pillow takes a WebP that is cut for a damaged one
        _check_length(path, name, data)
    # Before Pillow, which takes its time over chunks without end.
    places = {k: (i, j) for k, i, j in _png_chunks(path, data)} if name == "png" else {}
    stream = io.BytesIO(data)
    image = open_lazily(path, name, stream)
    width, height = image.size
    bounds.check_image_pixels(path, width, height)
    exif, complete = image.info.get("exif", b""), True
    if name == "jpeg":
        # Coded pixels never contain the end marker, so looking behind the first scan header, where
        # Pillow stops, is enough, and skips the end markers of thumbnails.
        complete = data.find(b"\xff\xd9", stream.tell()) >= 0 or _is_decoded(path, image)
    elif name == "png":  # the orientation may stand behind the pixels, where Pillow does not look
        start, end = places.get(b"eXIf", (0, 0))
        exif, complete = data[start + 8 : end - 4], b"IEND" in places
    if not complete:
        raise MediaError(path, "truncated", f"the {name} data ends before its end marker")
    return ImageHeader(name, width, height, _orientation(exif))


def open_lazily(path: str, name: str, stream: io.BytesIO) -> "ImageFile":
    """Pillow's image of a file of a known format, its pixels not decoded. Raises MediaError."""
    reader = _FORMATS[name][1]
    plugin = importlib.import_module(f"PIL.{reader}ImagePlugin")
    if not getattr(plugin, "SUPPORTED", True):
        raise MediaError(path, "missing_package", f"Pillow was built without {name}")
    if name == "avif":  # else one for each core, in each of many decoder processes
        from PIL import AvifImagePlugin

        AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    with pillow_errors(path, f"the {name} header is damaged"):
        return getattr(plugin, f"{reader}ImageFile")(stream)


@contextlib.contextmanager
def pillow_errors(path: str, detail: str) -> Iterator[None]:
    """Whatever Pillow raises for damage (SyntaxError, OSError, ValueError, …) is a MediaError."""
    try:
        yield
    except MemoryError as error:
        raise MediaError(path, "out_of_memory", f"{detail}: {error}") from error
    except Exception as error:
        raise MediaError(path, "corrupt", f"{detail}: {error}") from error


def _check_length(path: str, name: str, data: bytes) -> None:
    place, more = _DECLARED_LENGTH[name]
    declared = int.from_bytes(data[place : place + 4], "little") + more
    if len(data) < declared:
        raise MediaError(path, "truncated", f"{len(data)} of {declared} announced bytes are there")


def _is_decoded(path: str, jpeg: "ImageFile") -> bool:
    """Whether Pillow finds all pixels in a JPEG that has no end marker: some writers forget it."""
    try:
        with pillow_errors(path, "the jpeg data cannot be decoded"):
            jpeg.load()
    except MediaError:
        return False
    return True


def _is_old_bitmap(data: bytes) -> bool:
    """Whether it is a BMP with OS/2's header of 12 bytes, whose kinds OpenCV reads in part."""
    return data.startswith(b"BM") and data[14:18] == b"\x0c\0\0\0"


def _is_keyed_grey(path: str, data: bytes) -> bool:
    """Whether it is a grey PNG one of whose greys is transparent, which OpenCV does not see."""
    grey = image_format(data[:START_BYTES]) == "png" and data[25:26] == b"\0"
    return grey and any(kind == b"tRNS" for kind, _, _ in _png_chunks(path, data))


def _png_chunks(path: str, data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(kind, where it starts, where it ends) of the chunks up to the last one. Raises MediaError
    where there are more than the bound."""
    at = 8
    for _ in range(_MAX_PNG_CHUNKS):
        if at + 8 > len(data):
            return
        length, kind = struct.unpack_from(">I4s", data, at)
        yield kind, at, at + 12 + length
        if kind == b"IEND":
            return
        at += 12 + length
    raise MediaError(path, "corrupt", f"a png of more than {_MAX_PNG_CHUNKS} chunks")


def _png_pixels(path: str, data: bytes) -> bytes:
    """The PNG without chunks that its pixels do not depend on."""
    pieces, met = [data[:8]], set()
    for kind, start, end in _png_chunks(path, data):
        if kind in _PNG_PIXELS and (kind == b"IDAT" or kind not in met):
            pieces.append(data[start:end])
        met.add(kind)
    return data if met <= _PNG_PIXELS else b"".join(pieces)


def _orientation(exif: bytes) -> int:
    """EXIF orientation 1-8; 1 when it is absent or damaged, as viewers do."""
    from PIL.Image import Exif

    block = Exif()
    try:
        block.load(exif)
        value = block.get(_ORIENTATION)
    except Exception:
        return 1
    return int(value) if value is not None and value in range(1, 9) else 1


# ── Pixels. ─────────────────────────────────────────────────────────────────────────────────────


def _opencv_pixels(path: str, data: bytes, header: ImageHeader) -> np.ndarray:
    """Grey [H, W], RGB or RGBA of 8 or 16 bits, as stored."""
    # OpenCV would apply the orientation to some formats only, so it is told not to.
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    if header.format in _KEEPS_ALPHA:
        flags = cv2.IMREAD_UNCHANGED
    if header.format == "png":
        data = _png_pixels(path, data)
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        full = error.code == cv2.Error.StsNoMem
        raise MediaError(path, "out_of_memory" if full else "corrupt", str(error)) from error
    if pixels is None:
        raise MediaError(path, "corrupt", f"the {header.format} data cannot be decoded")
    if pixels.ndim == 2:
        return pixels
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB if pixels.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)


def _pillow_pixels(path: str, data: bytes, header: ImageHeader) -> np.ndarray:
    """Grey [H, W] of 16 bits, RGB or RGBA of 8 bits."""
    image = open_lazily(path, header.format, io.BytesIO(data))
    mode = image.mode
    deep = mode.startswith("I;16")
    if not (deep or mode in _PLAIN_MODES or mode in _ALPHA_MODES):  # "F", "I": what is white?
        raise MediaError(path, "unsupported_format", f"{header.format} pixels of mode {mode}")
    with pillow_errors(path, f"the {header.format} data cannot be decoded"):
        if deep:
            return np.asarray(image, np.uint16)
        see_through = mode in _ALPHA_MODES or "transparency" in image.info
        return np.asarray(image.convert("RGBA" if see_through else "RGB"))


def to_rgb(pixels: np.ndarray) -> np.ndarray:
    """Grey [H, W], RGB or RGBA of 8 or 16 bits -> uint8[H, W, 3] RGB, alpha over white."""
    if pixels.dtype == np.uint16:
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if pixels.ndim == 2:
        return cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)
    if pixels.shape[2] == 3:
        return pixels
    alpha = pixels[:, :, 3:].astype(np.uint16)
    return ((pixels[:, :, :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
