"""Writers of small test clips and images whose content tells which frame it is.

Every frame carries its own number as a row of black and white blocks along the top, so a test
reads off the picture which frame was decoded.
"""

import io
import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

BITS = 10
BLOCK = 8  # pixels: large enough to survive 4:2:0 chroma and heavy quantisation


def painted_frame(number: int, width: int = 128, height: int = 96) -> np.ndarray:
    """uint8[H, W, 3] RGB: `number` in binary along the top, a moving gradient below."""
    rows = np.arange(height)[:, None]
    columns = np.arange(width)[None, :]
    grey = ((columns + 3 * number) * 2 + rows) % 200 + 20
    frame = np.repeat(grey[:, :, None], 3, axis=2).astype(np.uint8)
    for bit in range(BITS):
        value = 255 if number >> bit & 1 else 0
        frame[:BLOCK, bit * BLOCK : (bit + 1) * BLOCK] = value
    return frame


def read_number(frame: np.ndarray) -> int:
    """The number painted into a decoded uint8[H, W, 3] frame."""
    centres = frame[BLOCK // 2, BLOCK // 2 : BITS * BLOCK : BLOCK].mean(axis=-1)
    return sum(1 << bit for bit, value in enumerate(centres) if value > 128)


def write_clip(
    path: Path,
    frames: int = 32,
    *,
    fps: int = 25,
    times: Sequence[Fraction] | None = None,
    codec: str = "libx264",
    container: str | None = None,
    pixel_format: str = "yuv420p",
    size: tuple[int, int] = (128, 96),
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    rotation: float | None = None,
) -> Path:
    """Writes `frames` painted frames, at `fps` or at the given `times` (seconds).

    size: (width, height) pixels. rotation: degrees counterclockwise the player has to turn.
    """
    width, height = size
    with av.open(str(path), "w", format=container, options=container_options or {}) as out:
        stream = out.add_stream(codec, rate=fps, options=options or {})
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        tick = Fraction(1, 1000) if times is not None else Fraction(1, fps)
        stream.time_base = stream.codec_context.time_base = tick
        if rotation is not None:
            stream.set_display_rotation(rotation)
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(painted_frame(number, width, height), format="rgb24")
            frame.time_base = tick
            frame.pts = number if times is None else int(times[number] / tick)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def shifted_copy(clip: Path, path: Path, frames: int, fps: int = 25) -> Path:
    """The clip with its first `frames` frames cut off by an edit list: stored, but not shown."""
    with (
        av.open(str(clip)) as source,
        av.open(str(path), "w", options={"avoid_negative_ts": "disabled"}) as out,
    ):
        stream = out.add_stream_from_template(source.streams.video[0])
        shift = round(Fraction(frames, fps) / source.streams.video[0].time_base)
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                packet.stream = stream
                out.mux(packet)
    return path


def write_raw_h264(path: Path, frames: int = 8) -> Path:
    """An elementary stream: pictures without a container, so without any timestamps."""
    return write_clip(path, frames, container="h264")


def write_empty_clip(path: Path) -> Path:
    """An mp4 whose video track is declared and holds no frame."""
    with av.open(str(path), "w", options={"movflags": "empty_moov+frag_keyframe"}) as out:
        stream = out.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        out.start_encoding()
    return path


def write_audio(path: Path) -> Path:
    """Half a second of silence and no video track."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("aac", rate=16000, layout="mono")
        for start in range(0, 8192, 1024):
            frame = av.AudioFrame.from_ndarray(
                np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
            )
            frame.sample_rate, frame.pts, frame.time_base = 16000, start, Fraction(1, 16000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def truncate(path: Path, fraction: float) -> Path:
    """Cuts the file to the given fraction of its bytes, in place."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * fraction)])
    return path


def exif_orientation(value: int) -> bytes:
    """A little-endian TIFF block with the orientation tag alone, as EXIF stores it."""
    buffer = io.BytesIO()
    buffer.write(b"II" + struct.pack("<HIH", 42, 8, 1))
    buffer.write(struct.pack("<HHIHH", 0x0112, 3, 1, value, 0))
    buffer.write(struct.pack("<I", 0))
    return buffer.getvalue()


def jpeg_with_orientation(jpeg: bytes, value: int) -> bytes:
    """The JPEG with an EXIF segment that says how to turn it (1-8)."""
    body = b"Exif\0\0" + exif_orientation(value)
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]
