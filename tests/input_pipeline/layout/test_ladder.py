"""The ladder against published vectors and hand computation."""

import dataclasses

import numpy as np
import pytest

from input_pipeline.layout import ExampleLayout, TooLong, layout_example
from input_pipeline.text import EncodedText
from vsft_jax.models.qwen2_5_vl.layout import Layout

SPEC = Layout()
HUGE = 10**9


@dataclasses.dataclass(frozen=True)
class Info:
    """What layout reads of a probed medium."""

    kind: str
    height: int
    width: int
    frame_times: tuple[float, ...] = (0.0,)
    duration_s: float = 0.0
    min_pixels: int | None = None
    max_pixels: int | None = None


def image(height, width):
    return Info("image", height, width)


def clip(height, width, frames, fps=30.0):
    times = tuple(i / fps for i in range(frames))
    return Info("video", height, width, times, frames / fps)


def text(tokens, media):
    """Encodes to `tokens` words and `media` placeholders."""
    n = tokens + media
    return lambda layouts: EncodedText(np.zeros(n, np.int32), np.zeros(n, bool))


# LLM tokens of a 720p clip by frames, with the default total and the early releases' smaller one.
GOLDEN_720P = {8: 2880, 16: 5760, 32: 11520, 64: 23040, 128: 46080, 256: 92160, 768: 105984}
GOLDEN_720P_SMALL = {64: 23040, 128: 23296, 256: 23040, 768: 46080}


@pytest.mark.parametrize("frames", GOLDEN_720P)
def test_720p_tokens_golden(frames):
    layout = layout_example(SPEC, text(5, 1), [clip(720, 1280, 1800)], [frames], HUGE, HUGE)
    (medium,) = layout.media
    assert medium.tokens == GOLDEN_720P[frames]
    assert layout.tokens == 5 + medium.tokens and layout.patches == 4 * medium.tokens
    assert medium.grid == (frames // 2, medium.height // 14, medium.width // 14)
    assert layout.shrunk == ""
    if frames == 768:
        assert (medium.height, medium.width) == (336, 644)


@pytest.mark.parametrize("frames", GOLDEN_720P_SMALL)
def test_720p_tokens_golden_small_total(frames):
    spec = dataclasses.replace(SPEC, video_total_pixels=24576 * 28 * 28)
    layout = layout_example(spec, text(0, 1), [clip(720, 1280, 1800)], [frames], HUGE, HUGE)
    assert layout.tokens == GOLDEN_720P_SMALL[frames]
    sizes = {128: (392, 728), 256: (280, 504), 768: (224, 420)}
    if frames in sizes:
        assert (layout.media[0].height, layout.media[0].width) == sizes[frames]


def test_frames_follow_the_sampling_rules():
    media = [clip(98, 98, 9), clip(98, 98, 1), image(98, 98), clip(98, 98, 30)]
    layout = layout_example(SPEC, text(3, 4), media, [16, 8, 1, 1], HUGE, HUGE)
    nine, single, picture, least = layout.media
    # linspace(0, 8, 8) = 0, 1.14, 2.29, 3.43, 4.57, 5.71, 6.86, 8
    assert nine.frame_indices == (0, 1, 2, 3, 5, 6, 7, 8) and nine.grid[0] == 4
    assert nine.frame_times == tuple(i / 30.0 for i in nine.frame_indices)
    assert nine.interval == pytest.approx(9 / 30 / 8) and picture.interval == 0
    assert single.frame_indices == (0, 0) and single.frame_times == (0.0, 0.0)
    assert single.grid == (1, 24, 24)
    assert picture.frame_indices == (0,) and picture.grid == (1, 8, 8)
    assert least.frame_indices == (0, 29) and least.grid[0] == 1


def test_ladder_pixels_first():
    media = [image(560, 560)]  # 400 tokens
    for room in (400, 399, 300, 100, 17, 4):
        layout = layout_example(SPEC, text(10, 1), media, [1], 10 + room, HUGE)
        (medium,) = layout.media
        assert layout.shrunk == ("" if room == 400 else "pixels")
        assert medium.tokens <= room
        assert medium.height % 28 == 0 and medium.width % 28 == 0
        # as large as fits: the next larger square would not
        side = medium.height // 28
        assert medium.height == medium.width and (side + 1) ** 2 > room * 0.97


def test_ladder_is_bound_by_patches_too():
    layout = layout_example(SPEC, text(10, 1), [image(560, 560)], [1], HUGE, 400)
    assert layout.patches == 400 and layout.media[0].height == 280
    assert layout.shrunk == "pixels"


def test_ladder_frames_second():
    spec = dataclasses.replace(SPEC, video_min_pixels=3136)
    media = [clip(560, 560, 64), image(560, 560)]
    # 16 frames at 56×56 are 8 grids of 4 tokens, the picture at 56×56 another 4.
    layout = layout_example(spec, text(0, 2), media, [16, 1], 36, HUGE)
    assert layout.shrunk == "pixels" and len(layout.media[0].frame_indices) == 16
    assert [m.tokens for m in layout.media] == [32, 4]
    layout = layout_example(spec, text(0, 2), media, [16, 1], 35, HUGE)
    assert layout.shrunk == "frames" and len(layout.media[0].frame_indices) == 8
    assert layout.tokens <= 35
    layout = layout_example(spec, text(0, 2), media, [16, 1], 8, HUGE)
    assert len(layout.media[0].frame_indices) == 2
    assert layout.media[0].frame_indices == (0, 63)


def test_too_long_names_the_reason():
    spec = dataclasses.replace(SPEC, video_min_pixels=3136)
    with pytest.raises(TooLong, match="the fewest frames") as caught:
        layout_example(spec, text(0, 1), [clip(560, 560, 64)], [16], 3, HUGE)
    assert caught.value.reason == "media"
    with pytest.raises(TooLong, match="11 text tokens do not fit into 10") as caught:
        layout_example(spec, text(11, 0), [], [], 10, HUGE)
    assert caught.value.reason == "text"


def test_text_only_needs_no_vision():
    layout = layout_example(SPEC, text(10, 0), [], [], 10, 0)
    assert layout == ExampleLayout((), 10, 0, "")


def test_wrong_arguments_are_errors():
    with pytest.raises(ValueError, match="1 frame budgets for 2 media"):
        layout_example(SPEC, text(0, 2), [image(56, 56)] * 2, [1], HUGE, HUGE)
    with pytest.raises(ValueError, match="got 0"):
        layout_example(SPEC, text(0, 1), [clip(56, 56, 4)], [0], HUGE, HUGE)
    with pytest.raises(ValueError, match="time_mode"):
        Layout(time_mode="int")
    with pytest.raises(ValueError, match="window_pixels=100"):
        Layout(window_pixels=100)
    with pytest.raises(ValueError, match="image_min_pixels=9"):
        Layout(image_min_pixels=9, image_max_pixels=8)
