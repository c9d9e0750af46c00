"""Size and orientation of an image file from its header, without decoding a pixel.

The header comes first because a file of a few kilobytes can declare a picture of gigabytes.
"""

import dataclasses
import struct

JPEG_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOFn, without DHT/JPG/DAC
JPEG_SCAN, JPEG_APP1 = 0xDA, 0xE1
EXIF_ORIENTATION_TAG = 0x0112


@dataclasses.dataclass(frozen=True)
class ImageHeader:
    """What an image file says about itself.

    width, height: pixels as stored, before the orientation is applied.
    orientation: EXIF value 1-8; 5-8 exchange width and height when displayed.
    complete: False when the file ends before its own end marker or declared length.
    """

    format: str
    width: int
    height: int
    orientation: int = 1
    complete: bool = True

    @property
    def displayed_size(self) -> tuple[int, int]:
        """(width, height) after the orientation is applied."""
        if self.orientation >= 5:
            return self.height, self.width
        return self.width, self.height


def read_image_header(data: bytes) -> ImageHeader | None:
    """The header of a JPEG, PNG, WebP, BMP or GIF file; None for anything else.

    data: the whole file. Raises ValueError when the header is damaged.
    """
    try:
        if data.startswith(b"\xff\xd8\xff"):
            return _jpeg(data)
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            return _png(data)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp(data)
        if data.startswith((b"GIF87a", b"GIF89a")):
            return ImageHeader("gif", *struct.unpack_from("<HH", data, 6))
        if data.startswith(b"BM"):
            length = struct.unpack_from("<I", data, 2)[0]
            width, height = struct.unpack_from("<ii", data, 18)
            return ImageHeader("bmp", width, abs(height), complete=len(data) >= length)
    except (struct.error, IndexError) as error:
        raise ValueError(f"the image header is cut short: {error}") from error
    return None


def _jpeg(data: bytes) -> ImageHeader:
    at, size, orientation = 2, None, 1
    while at < len(data):
        if data[at] != 0xFF:
            raise ValueError(f"JPEG marker expected at byte {at}, found 0x{data[at]:02x}")
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        length = struct.unpack_from(">H", data, at + 2)[0]
        if marker in JPEG_FRAME_MARKERS:
            height, width = struct.unpack_from(">HH", data, at + 5)
            size = width, height
        elif marker == JPEG_APP1 and data[at + 4 : at + 10] == b"Exif\0\0":
            orientation = _exif_orientation(data[at + 10 : at + 2 + length])
        elif marker == JPEG_SCAN:
            break
        at += 2 + length
    if size is None:
        raise ValueError("JPEG without a frame header")
    # Entropy-coded data never contains the end marker, so looking behind the first scan header
    # is enough, and skips the end markers of thumbnails.
    complete = data.find(b"\xff\xd9", at) >= 0
    return ImageHeader("jpeg", *size, orientation, complete)


def _png(data: bytes) -> ImageHeader:
    if data[12:16] != b"IHDR":
        raise ValueError("PNG without an IHDR chunk")
    width, height = struct.unpack_from(">II", data, 16)
    at, orientation, complete = 8, 1, False
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"eXIf":
            orientation = _exif_orientation(data[at + 8 : at + 8 + length])
        if kind == b"IEND":
            complete = True
            break
        at += 12 + length
    return ImageHeader("png", width, height, orientation, complete)


def _webp(data: bytes) -> ImageHeader:
    complete = len(data) >= 8 + struct.unpack_from("<I", data, 4)[0]
    kind = data[12:16]
    orientation = 1
    if kind == b"VP8X":
        width = 1 + int.from_bytes(data[24:27], "little")
        height = 1 + int.from_bytes(data[27:30], "little")
        at = 12
        while at + 8 <= len(data):
            chunk, length = struct.unpack_from("<4sI", data, at)
            if chunk == b"EXIF":
                orientation = _exif_orientation(data[at + 8 : at + 8 + length])
            at += 8 + length + length % 2
    elif kind == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    elif kind == b"VP8 ":
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    else:
        raise ValueError(f"WebP with unknown first chunk {kind!r}")
    return ImageHeader("webp", width, height, orientation, complete)


def _exif_orientation(block: bytes) -> int:
    """EXIF orientation 1-8 of a TIFF block; 1 when it is absent or damaged, as viewers do."""
    block = block.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None:
        return 1
    try:
        at = struct.unpack_from(order + "I", block, 4)[0]
        for entry in range(struct.unpack_from(order + "H", block, at)[0]):
            tag, _, _, value = struct.unpack_from(order + "HHIH", block, at + 2 + 12 * entry)
            if tag == EXIF_ORIENTATION_TAG:
                return value if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1
