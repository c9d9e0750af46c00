"""Positions, windows and indices against transformers and hand-written grids."""

import dataclasses

import numpy as np
import pytest

from input_pipeline.layout import MediaLayout
from input_pipeline.layout.positions import expand_text, vision_indices
from vsft_jax.models.qwen2_5_vl.layout import Layout, temporal_ids

SPEC = Layout()
HF_INT = dataclasses.replace(SPEC, time_mode="hf_int")
IMAGE_PAD, VIDEO_PAD = 151655, 151656
MEDIA_IDS = {"image": IMAGE_PAD, "video": VIDEO_PAD}


def video(t, h, w, seconds_per_grid=1.0, frames=None):
    frames = frames or 2 * t
    interval = seconds_per_grid / 2
    times = tuple(i * interval for i in range(frames))
    return medium("video", times, (t, h, w), interval)


def image(h, w):
    return medium("image", (0.0,), (1, h, w))


def medium(kind, times, grid, interval=0.0):
    t, h, w = grid
    return MediaLayout(
        kind,
        tuple(range(len(times))),
        times,
        h * 14,
        w * 14,
        grid,
        patches=t * h * w,
        tokens=t * h * w // 4,
        interval=interval,
    )


def indices_of(grid):
    return vision_indices(grid, merge=2, window_units=4)


# (frames, seconds) → first time ids as float and with whole seconds
GOLDEN_TIMES = [
    (8, 60, [0, 30, 60, 90], [0, 30, 60, 90]),
    (16, 10, [0, 2, 5, 7], [0, 2, 4, 6]),
    (64, 32, [0, 2, 4, 6], [0, 2, 4, 6]),
    (32, 11, [0, 1, 2, 4], [0, 0, 0, 0]),
    (8, 3, [0, 1, 3, 4], [0, 0, 0, 0]),
]


@pytest.mark.parametrize("frames, seconds, as_float, as_int", GOLDEN_TIMES)
def test_temporal_ids_golden(frames, seconds, as_float, as_int):
    times = tuple(i * seconds / frames for i in range(frames))
    grid, interval = (frames // 2, 4, 4), seconds / frames
    clip = medium("video", times, grid, interval)
    assert temporal_ids(clip, SPEC)[:4].tolist() == as_float
    assert temporal_ids(clip, HF_INT)[:4].tolist() == as_int


def test_temporal_ids_use_the_seconds_a_frame_stands_for():
    times = (0.0, 0.1, 0.2, 3.0, 3.1, 7.0)  # of a clip of 7.2 s: 2.4 s a grid, 4.8 ids
    clip = medium("video", times, (3, 4, 4), 7.2 / 6)
    assert temporal_ids(clip, SPEC).tolist() == [0, 4, 9]
    assert temporal_ids(clip, HF_INT).tolist() == [0, 4, 8]


def test_temporal_ids_of_a_still():
    assert temporal_ids(image(4, 4), SPEC).tolist() == [0]
    single = medium("video", (0.0, 0.0), (1, 4, 4), 0.02)
    assert temporal_ids(single, SPEC).tolist() == [0]


def test_windows_by_hand():
    # 5 × 6 merged units, windows of 4 × 4: 4×4, 4×2, 1×4, 1×2.
    indices = indices_of((2, 10, 12))
    first = [0, 1, 2, 3, 6, 7, 8, 9, 12, 13, 14, 15, 18, 19, 20, 21]
    right = [4, 5, 10, 11, 16, 17, 22, 23]
    below = [24, 25, 26, 27]
    corner = [28, 29]
    grid = first + right + below + corner
    assert indices.order.tolist() == grid + [30 + unit for unit in grid]
    assert indices.order[indices.inverse].tolist() == list(range(60))
    sizes = np.bincount(indices.windows)
    assert sizes.tolist() == [64, 32, 16, 8] * 2
    assert (np.diff(indices.windows) >= 0).all() and (np.diff(indices.frames) >= 0).all()
    assert np.bincount(indices.frames).tolist() == [120, 120]
    # the first merged unit's four patches, then the second's
    assert indices.coords[:6].tolist() == [[0, 0], [0, 1], [1, 0], [1, 1], [0, 2], [0, 3]]


GRIDS = [
    [(1, 4, 4)],
    [(1, 16, 16)],  # a multiple of the window: transformers adds an empty window and drops it
    [(3, 10, 12)],
    [(2, 8, 22), (1, 6, 4), (4, 18, 10)],
]


@pytest.mark.parametrize("grids", GRIDS)
def test_windows_and_coords_equal_transformers(grids):
    torch = pytest.importorskip("torch")
    oracle = pytest.importorskip("transformers.vision_utils")
    thw = torch.tensor(grids)
    window_index, window_ends = oracle.get_vision_window_index(thw, 2, 112, 14)
    coords = oracle.get_vision_position_ids(thw, 2).reshape(-1, 4, 2)[window_index].reshape(-1, 2)
    frame_ends = oracle.get_vision_cu_seqlens(thw).tolist()

    parts = [indices_of(grid) for grid in grids]
    merged = np.cumsum([0] + [len(part.order) for part in parts])
    order = np.concatenate([part.order + m for part, m in zip(parts, merged, strict=False)])
    assert order.tolist() == window_index.tolist()
    assert np.concatenate([part.coords for part in parts]).tolist() == coords.tolist()
    lengths = np.concatenate([np.bincount(part.windows) for part in parts])
    assert np.cumsum(lengths).tolist() == window_ends.tolist()[1:]
    lengths = np.concatenate([np.bincount(part.frames) for part in parts])
    assert np.cumsum(lengths).tolist() == frame_ends[1:]


def test_expand_text_by_hand():
    # 7 8 <image 1×2 tokens> 9 <video 2 grids of 1×1, 1.5 s apart> 10
    ids = np.array([7, 8, IMAGE_PAD, 9, VIDEO_PAD, 10])
    text = expand_text(ids, [image(2, 4), video(2, 2, 2, 1.5)], SPEC, MEDIA_IDS)
    assert text.tokens.tolist() == [7, 8, IMAGE_PAD, IMAGE_PAD, 9, VIDEO_PAD, VIDEO_PAD, 10]
    assert text.source.tolist() == [0, 1, 2, 2, 3, 4, 4, 5]
    assert text.visual_index[:, 0].tolist() == [-1, -1, 0, 1, -1, 2, 3, -1]
    assert text.positions.tolist() == [
        [0, 0, 0],
        [1, 1, 1],
        [2, 2, 2],
        [2, 2, 3],
        [4, 4, 4],
        [5, 5, 5],
        [8, 5, 5],  # 1.5 s · 2 ids a second
        [9, 9, 9],  # largest on any axis + 1
    ]


@pytest.fixture(scope="module")
def oracle_model():
    torch = pytest.importorskip("torch")
    module = pytest.importorskip("transformers.models.qwen2_5_vl")
    config = module.Qwen2_5_VLConfig(
        text_config={"hidden_size": 8, "num_hidden_layers": 0, "num_attention_heads": 1},
        vision_config={"hidden_size": 8, "depth": 0, "num_heads": 1, "tokens_per_second": 2},
    )
    with torch.device("meta"):
        return module.Qwen2_5_VLModel(config)


def transformers_positions(model, ids, media, text):
    """get_rope_index on the expanded ids, with the text after a medium at the largest id + 1.

    transformers 5 goes on after max(h, w) of a medium whatever its time ids; the released model
    was trained with the largest id on any axis + 1 (transformers 4.49). Each stretch is therefore
    asked for by itself.
    """
    torch = pytest.importorskip("torch")
    type_of = {IMAGE_PAD: 1, VIDEO_PAD: 2}
    ends = [*np.flatnonzero(np.isin(ids, list(type_of))) + 1, len(ids)]
    start, offset, found = 0, 0, []
    for number, end in enumerate(ends):
        stretch = text.tokens[(text.source >= start) & (text.source < end)]
        grids = {"image": None, "video": None}
        seconds = None
        if number < len(media):
            medium = media[number]
            grids[medium.kind] = torch.tensor([medium.grid])
            if medium.kind == "video":
                seconds = torch.tensor([medium.interval * 2])
        types = [[type_of.get(token, 0) for token in stretch.tolist()]]
        positions, _ = model.get_rope_index(
            torch.tensor(stretch)[None].long(),
            torch.tensor(types),
            image_grid_thw=grids["image"],
            video_grid_thw=grids["video"],
            second_per_grid_ts=seconds,
        )
        found.append(positions[:, 0].T.numpy() + offset)
        offset = int(found[-1].max()) + 1
        start = end
    return np.concatenate(found)


CONVERSATIONS = [
    [image(4, 4)],
    [video(4, 4, 6, 0.6875), image(10, 12)],
    [image(10, 12), video(8, 6, 4, 7.5), video(3, 16, 16, 0.3), image(4, 6)],
    [video(16, 2, 2, 0.25), video(5, 22, 8, 1.375)],
]


@pytest.mark.parametrize("media", CONVERSATIONS)
def test_positions_equal_transformers(media, oracle_model):
    rng = np.random.default_rng(len(media))
    ids = [np.full(1, 5)]
    for medium in media:
        ids += [rng.integers(0, 1000, rng.integers(1, 6)), np.full(1, MEDIA_IDS[medium.kind])]
    ids = np.concatenate([*ids, rng.integers(0, 1000, 4)])
    text = expand_text(ids, media, SPEC, MEDIA_IDS)
    expected = transformers_positions(oracle_model, ids, media, text)
    np.testing.assert_array_equal(text.positions, expected)


def test_positions_equal_transformers_in_one_call_where_space_outlasts_time(oracle_model):
    torch = pytest.importorskip("torch")
    media = [image(10, 12), video(3, 16, 20, 1.375), image(4, 4)]
    ids = np.array([1, IMAGE_PAD, 2, 3, VIDEO_PAD, 4, IMAGE_PAD, 5, 6])
    text = expand_text(ids, media, SPEC, MEDIA_IDS)
    types = (text.tokens == IMAGE_PAD) + 2 * (text.tokens == VIDEO_PAD)
    expected, delta = oracle_model.get_rope_index(
        torch.tensor(text.tokens)[None].long(),
        torch.tensor(types)[None],
        image_grid_thw=torch.tensor([m.grid for m in media if m.kind == "image"]),
        video_grid_thw=torch.tensor([m.grid for m in media if m.kind == "video"]),
        second_per_grid_ts=torch.tensor([1.375]),
    )
    np.testing.assert_array_equal(text.positions, expected[:, 0].T.numpy())
    assert text.positions.max() + 1 - len(text.tokens) == int(delta)


def test_visual_index_finds_the_patch_of_each_token():
    media = [image(10, 12), video(2, 10, 6)]
    ids = np.array([IMAGE_PAD, 1, VIDEO_PAD])
    text = expand_text(ids, media, SPEC, MEDIA_IDS)
    index = text.visual_index[:, 0]
    visual = index >= 0
    assert sorted(index[visual]) == list(range(30 + 30))
    # Row and column of a token follow from its position; those of its patches from coords.
    coords = np.concatenate([indices_of(m.grid).coords for m in media])
    of_token = coords.reshape(-1, 4, 2)[index[visual], 0] // 2
    starts = np.where(np.arange(60) < 30, 0, 7)  # the image spans 6, then one word
    np.testing.assert_array_equal(text.positions[visual][:, 1:] - starts[:, None], of_token)


@pytest.mark.parametrize("ids", [[1, 2], [VIDEO_PAD, 1], [IMAGE_PAD, IMAGE_PAD]])
def test_placeholders_must_be_those_of_the_media(ids):
    with pytest.raises(ValueError, match="placeholders"):
        expand_text(np.array(ids), [image(4, 4)], SPEC, MEDIA_IDS)


def test_indices_are_shared_and_read_only():
    indices = indices_of((1, 4, 4))
    assert indices_of((1, 4, 4)) is indices
    with pytest.raises(ValueError, match="read-only"):
        indices.order[0] = 1
