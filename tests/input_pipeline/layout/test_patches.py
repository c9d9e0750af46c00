"""Patches against transformers' Pillow image processor, a plain loop, and Pillow's resize."""

import itertools

import numpy as np
import pytest

from input_pipeline.layout import MediaLayout
from input_pipeline.layout.patches import patchify
from input_pipeline.media import resize
from vsft_jax.models.qwen2_5_vl.layout import Layout

SPEC = Layout()
QWEN = dict(patch=14, pair=2, merge=2)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def test_image_patches_equal_transformers():
    module = pytest.importorskip("transformers.models.qwen2_vl.image_processing_pil_qwen2_vl")
    processor = module.Qwen2VLImageProcessorPil()
    picture = noise(112, 196, 3)  # needs no resizing
    expected = processor(images=[picture], return_tensors="np")
    ours = patchify(picture[None], **QWEN)
    assert expected["image_grid_thw"].tolist() == [[1, 8, 14]]
    mean = np.repeat(processor.image_mean, 2 * 14 * 14)
    std = np.repeat(processor.image_std, 2 * 14 * 14)
    np.testing.assert_allclose((ours / 255.0 - mean) / std, expected["pixel_values"], atol=1e-5)


@pytest.mark.parametrize("frames", [4, 5])
def test_video_patches_equal_a_loop(frames):
    clip = noise(frames, 56, 84, 3)
    padded = np.concatenate([clip, clip[-1:]]) if frames % 2 else clip
    rows = []
    for t, big_row, big_col, row, col in itertools.product(
        range(len(padded) // 2), range(2), range(3), range(2), range(2)
    ):
        top, left = (big_row * 2 + row) * 14, (big_col * 2 + col) * 14
        rows.append(
            [
                padded[2 * t + frame, top + y, left + x, channel]
                for channel, frame, y, x in itertools.product(
                    range(3), range(2), range(14), range(14)
                )
            ]
        )
    np.testing.assert_array_equal(patchify(clip, **QWEN), np.array(rows, np.uint8))


def test_media_patches_are_in_window_order():
    clip = noise(4, 140, 168, 3)
    medium = MediaLayout(
        "video", (0, 1, 2, 3), (0.0, 0.5, 1.0, 1.5), 140, 168, (2, 10, 12), 240, 60
    )
    out = np.zeros((240, SPEC.patch_dim), np.uint8)
    SPEC.write_patches(clip, medium, out)
    indices = SPEC.patch_indices(medium)
    assert len(np.unique(indices.windows)) == 8  # 2 × 2 windows in each of two grids
    pixels = out.reshape(240, 3, 2, 14, 14)
    for place in range(0, 240, 7):
        row, column = indices.coords[place] * 14
        first = 2 * indices.frames[place]
        expected = clip[first : first + 2, row : row + 14, column : column + 14]
        np.testing.assert_array_equal(pixels[place].transpose(1, 2, 3, 0), expected)


def test_frames_that_were_not_laid_out_are_refused():
    medium = MediaLayout("video", (0, 1, 2, 3), (0.0, 0.5, 1.0, 1.5), 56, 56, (2, 4, 4), 32, 8)
    with pytest.raises(ValueError, match="3 frames decoded, 4 laid out"):
        SPEC.write_patches(noise(3, 56, 56, 3), medium, np.zeros((32, 1176), np.uint8))


def photograph():
    """Something with the smooth areas, edges and fine detail of a picture: float noise with a
    1 / frequency spectrum, plus bars."""
    rng = np.random.default_rng(0)
    height, width = 360, 480
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = 1
    spectrum = rng.standard_normal((3, height, width // 2 + 1, 2)) @ [1, 1j] / frequency**1.2
    spectrum[:, 0, 0] = 0
    field = np.fft.irfft2(spectrum, (height, width))
    picture = np.clip(field / field.std() * 40 + 128, 0, 255).astype(np.uint8)
    picture[:, 100:140, ::16] = 255
    return np.ascontiguousarray(picture.transpose(1, 2, 0))


@pytest.mark.parametrize(
    "size", [(364, 476), (252, 308), (168, 224), (84, 112), (56, 56), (728, 952), (196, 952)]
)
def test_resize_is_close_to_pillow(size):
    image_module = pytest.importorskip("PIL.Image")
    picture = photograph()
    height, width = size
    wanted = image_module.fromarray(picture).resize(
        (width, height), image_module.Resampling.BICUBIC
    )
    difference = np.abs(resize(picture, height, width).astype(int) - np.asarray(wanted))
    assert difference.mean() < 1.6


def test_resize_leaves_a_fitting_picture_alone():
    picture = noise(56, 84, 3)
    np.testing.assert_array_equal(resize(picture, 56, 84), picture)


def test_resize_blurs_only_the_axis_that_changes():
    picture = np.zeros((56, 112, 3), np.uint8)
    picture[::2] = 255  # horizontal stripes, one pixel each
    np.testing.assert_array_equal(resize(picture, 56, 56), picture[:, :56])
    np.testing.assert_array_equal(resize(picture.transpose(1, 0, 2), 56, 56)[:, ::2], 255)
