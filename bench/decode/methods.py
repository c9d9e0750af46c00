"""Ways to get chosen frames of a clip, each as its users write it.

A method takes (path, frame indices, threads) and returns the frames as uint8[F, 252, 448, 3], RGB.
Those whose package is missing say so when they are made.
"""

import importlib.metadata
import os
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Literal, NamedTuple

import av
import cv2
import numpy as np

from bench.decode.clips import FPS, SMALL
from input_pipeline.examples import MediaRef
from input_pipeline.media import read_frames

Frames = Callable[[str, Sequence[int], int], np.ndarray]


class Method(NamedTuple):
    """threads: numbers of threads inside one call that it can be asked for. own_indices: it
    chooses frames by itself, given only how many, spread from the first frame to the last.
    in_order: it decodes all that lies before a wanted frame. ours: this repository's."""

    name: str
    frames: Frames
    threads: tuple[int, ...] = (1, 2)
    own_indices: bool = False
    in_order: bool = False
    ours: bool = False


def shrink(picture: np.ndarray) -> np.ndarray:
    """The resizing of methods that have none of their own."""
    return cv2.resize(picture, SMALL[::-1], interpolation=cv2.INTER_AREA)


def ours(path: str, indices: Sequence[int], threads: int) -> np.ndarray:
    """This repository's `read_frames`, which resizes each frame as it comes."""
    return read_frames(MediaRef("video", path), indices, SMALL, threads)


def opencv_in_order(path: str, indices: Sequence[int], threads: int) -> np.ndarray:
    """grab() up to the last wanted frame, retrieve() of the wanted ones."""
    capture = _opencv(path, threads)
    wanted, frames = set(indices), {}
    for i in range(max(indices) + 1):
        capture.grab()
        if i in wanted:
            frames[i] = shrink(cv2.cvtColor(capture.retrieve()[1], cv2.COLOR_BGR2RGB))
    return np.stack([frames[i] for i in indices])


def opencv_seek(path: str, indices: Sequence[int], threads: int) -> np.ndarray:
    """CAP_PROP_POS_FRAMES and read(), frame by frame."""
    capture, frames = _opencv(path, threads), []
    for i in indices:
        capture.set(cv2.CAP_PROP_POS_FRAMES, i)
        frames.append(shrink(cv2.cvtColor(capture.read()[1], cv2.COLOR_BGR2RGB)))
    return np.stack(frames)


def _opencv(path: str, threads: int) -> cv2.VideoCapture:
    return cv2.VideoCapture(path, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, threads])


def pyav_in_order(path: str, indices: Sequence[int], threads: int) -> np.ndarray:
    """As LLaMA-Factory's mm_plugin does: every frame is decoded to the end of the clip, the wanted
    ones are kept as PIL pictures."""
    from PIL import Image

    frames = []
    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = threads
        stream.codec_context.thread_type = "AUTO" if threads > 1 else "NONE"
        wanted = set(indices)
        for i, frame in enumerate(container.decode(stream)):
            if i in wanted:
                frames.append(frame.to_image())
    sized = [image.resize(SMALL[::-1], Image.Resampling.BICUBIC) for image in frames]
    return np.stack([np.asarray(image) for image in sized])


def pyav_seek(path: str, indices: Sequence[int], threads: int) -> np.ndarray:
    """One seek a frame, then decoding up to it; the clip's rate is constant and known."""
    frames = []
    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = threads
        stream.codec_context.thread_type = "AUTO" if threads > 1 else "NONE"
        assert stream.time_base is not None, "MP4 has one"
        tick = 1 / (FPS * stream.time_base)
        for i in indices:
            container.seek(int(i * tick), stream=stream)
            frame = next(
                f for f in container.decode(stream) if f.pts is not None and f.pts >= i * tick
            )
            frames.append(shrink(frame.to_ndarray(format="rgb24")))
    return np.stack(frames)


def decord_method() -> Method:
    """`get_batch` of all frames at once. Raises ImportError without decord2."""
    import decord

    def frames(path: str, indices: Sequence[int], threads: int) -> np.ndarray:
        reader = decord.VideoReader(path, width=SMALL[1], height=SMALL[0], num_threads=threads)
        return reader.get_batch(list(indices)).asnumpy()

    return Method(f"decord2 {importlib.metadata.version('decord2')}, resize inside", frames)


def torchcodec_method(mode: Literal["exact", "approximate"]) -> Method:
    """`get_frames_at`; mode: its seek_mode. Raises what importing torchcodec raises."""
    from torchcodec.decoders import VideoDecoder

    def frames(path: str, indices: Sequence[int], threads: int) -> np.ndarray:
        decoder = VideoDecoder(
            path, num_ffmpeg_threads=threads, dimension_order="NHWC", seek_mode=mode
        )
        data = decoder.get_frames_at(list(indices)).data.numpy()
        return np.stack([shrink(picture) for picture in data])

    return Method(f"torchcodec {importlib.metadata.version('torchcodec')}, {mode}", frames)


def qwen_vision_process() -> ModuleType:
    """The module `qwen_vl_utils.vision_process`, with the first of its readers that works here."""
    declare_torchvision_operators()
    try:
        import torchcodec.decoders  # noqa: F401
    except Exception:  # installed or not, it does not work: the next one in their order
        os.environ.setdefault("FORCE_QWENVL_VIDEO_READER", "decord")
    from qwen_vl_utils import vision_process

    return vision_process


def qwen_method() -> Method:
    """`fetch_video`, asked for a number of frames. Raises ImportError without qwen-vl-utils."""
    vision_process = qwen_vision_process()
    backend = vision_process.get_video_reader_backend()

    def frames(path: str, indices: Sequence[int], threads: int) -> np.ndarray:
        wanted = {"resized_height": SMALL[0], "resized_width": SMALL[1], "nframes": len(indices)}
        video = vision_process.fetch_video({"video": path, **wanted})
        return video.round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()

    version = importlib.metadata.version("qwen-vl-utils")
    name = f"qwen-vl-utils {version}, its default backend here ({backend})"
    return Method(name, frames, threads=(0,), own_indices=True)


_DECLARED: list[object] = []  # libraries of operators, which are undone when they go


def declare_torchvision_operators() -> None:
    """torchvision's wheel is built for CUDA and fails beside a CPU-only torch, for want of two
    operators that nothing here calls."""
    import torch

    if torch.version.cuda is None and not hasattr(torch.ops.torchvision, "nms"):
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _DECLARED.append(library)


OURS = Method("this repository", ours, ours=True)
MAKERS = {
    "this repository": lambda: OURS,
    "OpenCV": lambda: Method(f"OpenCV {cv2.__version__}, in order", opencv_in_order, in_order=True),
    "OpenCV seeking": lambda: Method(f"OpenCV {cv2.__version__}, seeking", opencv_seek),
    "PyAV": lambda: Method(
        f"PyAV {av.__version__} as in LLaMA-Factory", pyav_in_order, in_order=True
    ),
    "PyAV seeking": lambda: Method(f"PyAV {av.__version__}, seeking", pyav_seek),
    "decord2": decord_method,
    "torchcodec": lambda: torchcodec_method("exact"),
    "torchcodec approximate": lambda: torchcodec_method("approximate"),
    "qwen-vl-utils": qwen_method,
}


def methods(clip: str) -> list[Method]:
    """All that can read a clip here, each tried once; prints a line for each that cannot. Where one
    chooses frames by itself, ours follows with the same ones."""
    found = []
    for package, make in MAKERS.items():
        try:
            method = make()
            method.frames(clip, [0, 1], 1)
            found.append(method)
        except Exception as error:  # a missing package, or one that does not load
            reason = str(error).strip().splitlines() or [type(error).__name__]
            print(f"left out: {package}: {reason[0][:140]}")
    if any(method.own_indices for method in found):
        found.append(OURS._replace(name="this repository, the same frames", own_indices=True))
    return found
