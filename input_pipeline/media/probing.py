"""What a medium is, or why it cannot be used: size, frame times, duration."""

import bisect
import dataclasses
from collections.abc import Sequence

from input_pipeline.examples import MediaKind, MediaRef
from input_pipeline.media import bounds
from input_pipeline.media.errors import MediaError
from input_pipeline.media.images import START_BYTES, image_format, load_image
from input_pipeline.media.sources import open_source
from input_pipeline.media.video.animation import animation_facts, is_animation
from input_pipeline.media.video.container import displayed_size, open_video
from input_pipeline.media.video.folder import folder_size, frame_folder, is_frame_folder
from input_pipeline.media.video.frame_table import decoded_times, frame_table

# How much later than its time a frame may start and still belong to a clip, in seconds: the times
# in annotations are rounded.
_CLIP_TOLERANCE_S = 1e-6


@dataclasses.dataclass(frozen=True)
class MediaInfo:
    """What is known about a usable medium before decoding it.

    width, height: pixels as displayed, rotation and EXIF orientation applied. (Non-square pixels
        are not stretched; neither do the decoders of the reference implementations.)
    frame_times: seconds, presentation order, first frame = 0.0; (0.0,) for an image.
    duration_s: seconds, the last frame's time plus one mean frame interval; 0.0 for an image.
    min_pixels, max_pixels: limits that the data sets for this medium; see `MediaRef`.
    """

    kind: MediaKind
    width: int
    height: int
    frame_times: Sequence[float]
    duration_s: float
    min_pixels: int | None = None
    max_pixels: int | None = None

    @property
    def frames(self) -> int:
        return len(self.frame_times)

    @property
    def fps(self) -> float:
        """Mean frames per second; 0.0 for an image."""
        return self.frames / self.duration_s if self.duration_s else 0.0


def kind_of_file(path: str) -> MediaKind:
    """ "image" for a file that begins like an image, else "video" (GIFs and frame folders too).

    Raises MediaError("missing") and the like for a file that cannot be opened.
    """
    if is_frame_folder(path):
        return "video"
    with open_source(path, bounds.MAX_VIDEO_BYTES) as file:
        return "video" if image_format(file.read(START_BYTES)) in (None, "gif") else "image"


def probe(ref: MediaRef) -> MediaInfo:
    """Reads what the pipeline needs to plan with. Decodes no pixel of an image, at most one frame
    of a video whose container announces every frame, and all frames of others.

    Raises MediaError.
    """
    if ref.kind == "image":
        header = load_image(ref.path)[1]
        return MediaInfo("image", *header.displayed_size, frame_times=(0.0,), duration_s=0.0)
    size, times, nominal = _look(ref.path)
    interval = times[-1] / (len(times) - 1) if len(times) > 1 else nominal
    bounds.check_duration(ref.path, times[-1] + interval)
    return cut_clip(MediaInfo("video", *size, tuple(times), times[-1] + interval), ref)


def cut_clip(info: MediaInfo, ref: MediaRef) -> MediaInfo:
    """What a whole medium was found to be -> what the clip of it is that `ref` asks for, with the
    limits that `ref` sets.

    Raises MediaError("empty_clip").
    """
    if ref.min_pixels or ref.max_pixels:
        info = dataclasses.replace(info, min_pixels=ref.min_pixels, max_pixels=ref.max_pixels)
    if ref.start_s is None and ref.end_s is None:
        return info
    times = info.frame_times
    first, stop = clip_frames(ref, times)
    clip = tuple(time - times[first] for time in times[first:stop])
    interval = info.duration_s - times[-1]
    return dataclasses.replace(info, frame_times=clip, duration_s=clip[-1] + interval)


def clip_frames(ref: MediaRef, times: Sequence[float]) -> tuple[int, int]:
    """(first, behind the last) of the frames with start_s <= time <= end_s.

    Where there are none, because the clip lies between two frames, the one that is on the screen
    then; the last frame stays for one mean interval.

    times: seconds from the first frame of the whole video, rising. At a constant rate f these are
    ceil(start_s · f) to floor(end_s · f), as in qwen-vl-utils.
    Raises MediaError for a clip behind the video's end.
    """
    start = ref.start_s if ref.start_s is not None else 0.0
    end = ref.end_s if ref.end_s is not None else times[-1]
    first = bisect.bisect_left(times, start - _CLIP_TOLERANCE_S)
    stop = bisect.bisect_right(times, end + _CLIP_TOLERANCE_S)
    if first >= stop:
        gone = times[-1] + times[-1] / max(len(times) - 1, 1)
        if first > 0 and start < gone:
            return first - 1, first
        raise MediaError(
            ref.path,
            "empty_clip",
            f"no frame from {start} s to {end} s, the last one is at {times[-1]:.3f} s",
        )
    return first, stop


def _look(path: str) -> tuple[tuple[int, int], Sequence[float], float]:
    """(width, height), frame times and nominal interval in seconds."""
    if is_frame_folder(path):
        folder = frame_folder(path)
        return folder_size(path, folder), folder.times, folder.interval
    try:
        return _probe_file(path)
    except MediaError as error:
        if error.reason != "unsupported_format" or not is_animation(path):
            raise
    size, times = animation_facts(path)
    return size, times, 0.0


def _probe_file(path: str) -> tuple[tuple[int, int], list[float], float]:
    """Likewise, of what FFmpeg reads."""
    with open_video(path) as video:
        table = frame_table(video)
        rate = video.stream.average_rate or video.stream.guessed_rate
    first, times = decoded_times(path) if table is None else (table.first, table.times)
    bounds.check_frame_pixels(path, first.width, first.height)
    nominal = float(1 / rate) if rate else 0.0  # all that is known of a single frame
    return displayed_size(first), times, nominal
