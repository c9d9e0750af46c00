"""Writes drawn scenes as ordinary media files: PNG, JPEG, H.264 in MP4, VP8 and VP9 in WebM."""

import io
import itertools
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import cv2
import numpy as np

# Two things keep "same frames, same file" true. x264's macroblock tree gives varying results on
# pictures whose width is no multiple of 32, at least on AVX-512 machines, so it is off. A negative
# cpu-used fixes VP8's speed; with a positive one libvpx follows the clock.
_X264 = "mbtree=0:rc-lookahead=5:b-adapt=0:scenecut=0:subme=1"
_Encoder = Literal["libx264", "libvpx", "libvpx-vp9"]
_VIDEO: dict[str, tuple[_Encoder, dict[str, str]]] = {
    "h264": ("libx264", {"preset": "veryfast", "crf": "18", "x264-params": _X264}),
    "vp8": ("libvpx", {"deadline": "realtime", "cpu-used": "-8", "crf": "8", "b": "800k"}),
    "vp9": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "crf": "22", "b": "0"}),
}
SUFFIX = {"png": ".png", "jpeg": ".jpg", "h264": ".mp4", "vp8": ".webm", "vp9": ".webm"}
_KEYFRAME_EVERY = 24


def write_image(path: Path, rgb: np.ndarray, codec: str) -> None:
    """Writes uint8[H, W, 3] RGB as "png" or "jpeg" (quality 95).

    Raises KeyError for another codec and OSError when nothing could be written.
    """
    options = {
        "png": (cv2.IMWRITE_PNG_COMPRESSION, 3),
        "jpeg": (cv2.IMWRITE_JPEG_QUALITY, 95),
    }[codec]
    done, data = cv2.imencode(SUFFIX[codec], cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), options)
    if not done:
        raise OSError(f"OpenCV could not encode {path} as {codec}")
    path.write_bytes(data.tobytes())


def write_video(path: Path, frames: Iterable[np.ndarray], fps: int, codec: str) -> None:
    """Writes uint8[H, W, 3] RGB frames (even H and W) at a constant rate; codec as in `SUFFIX`.

    One encoder thread and bit-exact muxing: the same frames give the same file.
    """
    encoder, options = _VIDEO[codec]
    frames = iter(frames)
    first = next(frames)
    time_base = Fraction(1, fps)
    # In memory first: FFmpeg does not say when a disk is full.
    buffer = io.BytesIO()
    name = path.suffix.removeprefix(".")
    with av.open(buffer, "w", format=name, options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream(encoder, rate=fps, options=options)
        stream.height, stream.width = first.shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        stream.codec_context.gop_size = _KEYFRAME_EVERY
        last, picture = first, _to_yuv(first)
        for number, rgb in enumerate(itertools.chain([first], frames)):
            if rgb is not last:
                last, picture = rgb, _to_yuv(rgb)
            picture.pts = number
            picture.time_base = time_base
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    path.write_bytes(buffer.getvalue())


def _to_yuv(rgb: np.ndarray) -> av.VideoFrame:
    planes = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420), np.uint8)
    return av.VideoFrame.from_numpy_buffer(planes, format="yuv420p")
