"""Pictures of a fixed size, their tiles and their tokens, against transformers and torch."""

import types

import numpy as np
import PIL.Image
import pytest
import torch
from transformers.image_processing_utils import get_patch_output_size, select_best_resolution
from transformers.image_transforms import divide_to_patches
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil
from transformers.models.llava_next.image_processing_pil_llava_next import (
    LlavaNextImageProcessorPil,
)
from transformers.models.llava_next_video.modeling_llava_next_video import (
    image_size_to_num_patches,
    unpad_image,
)
from transformers.models.llava_next_video.processing_llava_next_video import (
    LlavaNextVideoProcessor,
)
from transformers.models.llava_onevision.processing_llava_onevision import LlavaOnevisionProcessor

from input_pipeline.layout import (
    NEWLINE,
    LayoutError,
    TooLong,
    layout_example,
    tiles,
)
from input_pipeline.media import MediaInfo
from input_pipeline.text import EncodedText
from vsft_jax.models import llava_1_5, llava_next_video, llava_onevision

ONE = llava_1_5.FAMILY.layout(llava_1_5.FAMILY.vision_config())
NEXT = llava_next_video.FAMILY.layout(llava_next_video.FAMILY.vision_config())
OV = llava_onevision.FAMILY.layout(llava_onevision.FAMILY.vision_config())


def image_info(height: int, width: int) -> MediaInfo:
    return MediaInfo("image", width, height, (0.0,), 0.0)


def video_info(frames: int, height: int = 240, width: int = 320) -> MediaInfo:
    return MediaInfo("video", width, height, tuple(i / 2 for i in range(frames)), frames / 2)


def sizes(count: int) -> list[tuple[int, int]]:
    """Ordinary pictures, tiny, huge and elongated ones, and sizes of a canvas."""
    rng = np.random.default_rng(0)
    drawn = np.exp(rng.uniform(np.log(20), np.log(4000), (count, 2))).astype(int)
    fixed = [(336, 336), (672, 336), (384, 384), (2304, 2304), (768, 1152), (1, 150), (150, 1)]
    return [*fixed, *map(tuple, drawn.tolist())]


@pytest.mark.parametrize("rules", [NEXT, OV], ids=["next", "onevision"])
def test_canvas(rules):
    for size in sizes(300):
        canvas = tiles.best_canvas(size, rules.canvases)
        assert canvas == select_best_resolution(size, rules.canvases)
        shape = (3, *size)
        expected = get_patch_output_size(np.broadcast_to(0, shape), canvas, "channels_first")
        assert tiles.size_on_canvas(size, canvas) == expected


def test_unpadded():
    for size in sizes(300):
        canvas = tiles.best_canvas(size, NEXT.canvases)
        grid = NEXT.feature_grid(canvas)
        places = np.arange(grid[0] * grid[1]).reshape(grid)
        expected = unpad_image(torch.tensor(places)[None], size)[0].numpy()
        np.testing.assert_array_equal(places[tiles.unpadded(size, grid)], expected)


def _counter(kind, rules, **more):
    """A processor's counting methods without a tokenizer."""
    counter = types.SimpleNamespace(
        image_processor=types.SimpleNamespace(image_grid_pinpoints=list(rules.canvases)), **more
    )
    counter._get_unpadded_features = types.MethodType(kind._get_unpadded_features, counter)
    return lambda h, w: kind._get_number_of_features(
        counter, h, w, rules.image_size, rules.image_size
    )


def test_image_counts():
    """Tokens as transformers' processors count them, inputs as its models do."""
    next_count = _counter(
        LlavaNextVideoProcessor, NEXT, patch_size=14, num_additional_image_tokens=0
    )
    ov_count = _counter(
        LlavaOnevisionProcessor, OV, num_image_tokens=729, vision_aspect_ratio="anyres_max_9"
    )
    shrunk = 0
    for height, width in sizes(300):
        for rules, count in ((NEXT, next_count), (OV, ov_count)):
            medium = rules.lay_out(image_info(height, width), (0,), 1.0)
            assert medium.tokens == count(height, width)
            inputs = image_size_to_num_patches(
                (height, width), list(rules.canvases), rules.image_size
            )
            assert medium.patches == inputs * rules.slots
            assert medium.grid == (inputs, rules.side, rules.side)
        shrunk += medium.tokens < 729 + medium.grid[0] * 729 // 2
    assert shrunk > 10  # OneVision's limit on a canvas's features was met


@pytest.mark.parametrize("rules", [ONE, NEXT, OV], ids=["1.5", "next", "onevision"])
def test_blocks_hold_what_was_laid_out(rules):
    media = [image_info(*size) for size in sizes(6)] + [video_info(3)]
    for info in media:
        indices = tuple(range(info.frames))
        for shrink in (1.0, 0.5, 0.0):
            medium = rules.lay_out(info, indices, shrink)
            (block,) = rules.blocks(medium)
            assert block.visual_index.shape == (medium.tokens, rules.taps)
            np.testing.assert_array_equal(
                block.offsets, np.arange(medium.tokens)[:, None].repeat(3, 1)
            )
            seen = block.visual_index[(block.visual_index != NEWLINE).all(axis=1)]
            patches = rules.patch_indices(medium)
            assert seen.min() >= 0 and seen.max() < medium.patches == len(patches.coords)
            if rules.class_token:  # never looked at
                assert (patches.coords[seen] > 0).all()
            if rules.taps > 1:
                newline = (block.visual_index == NEWLINE).all(axis=1)
                np.testing.assert_allclose(block.weights.sum(axis=1), ~newline, atol=1e-6)
            frames, counts = np.unique(patches.frames, return_counts=True)
            assert frames.tolist() == list(range(medium.grid[0])) and set(counts) == {rules.slots}


def test_video_counts():
    for frames, counts in ((8, (4608, 1152, 1569)), (32, (18432, 4608, 6273))):
        found = [
            rules.lay_out(video_info(frames), tuple(range(frames)), 1.0).tokens
            for rules in (ONE, NEXT, OV)
        ]
        assert tuple(found) == counts


def test_several_images_take_one_input_each():
    """LLaVA-OneVision: beside another image each is a small picture; beside a clip it is not."""
    infos = [image_info(800, 600), image_info(300, 900)]
    encode = lambda media: EncodedText(np.zeros(len(media), np.int32), None)  # noqa: E731
    laid = layout_example(OV, encode, infos, [1, 1], 10**6, 10**6)
    assert [medium.tokens for medium in laid.media] == [730, 730]
    assert [medium.grid[0] for medium in laid.media] == [1, 1]
    laid = layout_example(OV, encode, [infos[0], video_info(4)], [1, 4], 10**6, 10**6)
    assert laid.media[0].grid[0] > 1


def test_ladder():
    """An image gives up tiles, then clips give up frames; nothing else gets smaller."""
    encode = lambda media: EncodedText(np.zeros(len(media) + 7, np.int32), None)  # noqa: E731
    infos = [image_info(1000, 700), video_info(16)]

    def at(max_tokens):
        return layout_example(NEXT, encode, infos, [1, 16], max_tokens, 10**6)

    full = at(10**6)
    assert full.shrunk == "" and full.media[0].grid[0] == 5
    less = at(full.tokens - 1)
    assert less.shrunk == "pixels" and 1 < less.media[0].grid[0] < 5
    alone = at(16 * 144 + 577 + 7)
    assert alone.shrunk == "pixels" and [m.tokens for m in alone.media] == [577, 2304]
    fewer = at(16 * 144 + 577 + 6)
    assert fewer.shrunk == "frames" and len(fewer.media[1].frame_indices) == 8
    with pytest.raises(TooLong):
        at(577 + 143 + 7)


def test_max_tiles():
    for most, grid in ((None, 5), (3, 4), (2, 3), (0, 1)):
        rules = llava_next_video.FAMILY.layout(
            llava_next_video.FAMILY.vision_config(), image_max_tiles=most
        )
        medium = rules.lay_out(image_info(1000, 700 if most != 3 else 200), (0,), 1.0)
        assert medium.grid[0] == grid


def _pillow(picture, height, width):
    resized = PIL.Image.fromarray(picture).resize((width, height), PIL.Image.Resampling.BICUBIC)
    return np.asarray(resized)


@pytest.mark.parametrize("size", [(90, 61), (56, 56), (40, 131), (300, 57)])
@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_fit_square(monkeypatch, size, fit):
    monkeypatch.setattr(tiles, "resize", _pillow)
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    processor = LlavaImageProcessorPil(
        size={"shortest_edge": 56},
        crop_size={"height": 56, "width": 56},
        do_pad=fit == "pad",
        do_rescale=False,
        do_normalize=False,
    )
    expected = processor(images=[picture], return_tensors="np")["pixel_values"][0]
    background = [int(255 * mean) for mean in processor.image_mean]
    found = tiles.fit_square(picture, 56, fit, background)
    np.testing.assert_array_equal(found.transpose(2, 0, 1), expected)


@pytest.mark.parametrize("size", [(90, 61), (56, 112), (41, 131), (300, 57)])
def test_tiles(monkeypatch, size):
    """The inputs of an image, pixel by pixel, and where a patch's pixels end up."""
    monkeypatch.setattr(tiles, "resize", _pillow)
    canvases = ((56, 112), (112, 56), (112, 112), (168, 56))
    rules = llava_next_video.layout.Layout(image_size=56, canvases=canvases)
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    processor = LlavaNextImageProcessorPil(
        size={"shortest_edge": 56},
        crop_size={"height": 56, "width": 56},
        image_grid_pinpoints=[list(canvas) for canvas in canvases],
        do_rescale=False,
        do_normalize=False,
    )
    expected = processor(images=[picture], return_tensors="np")["pixel_values"][0]
    medium = rules.lay_out(image_info(*size), (0,), 1.0)
    found = rules.inputs(picture[None], medium)
    np.testing.assert_array_equal(found.transpose(0, 3, 1, 2), expected)

    out = np.full((medium.patches, rules.patch_dim), 7, np.uint8)
    rules.write_patches(picture[None], medium, out)
    indices = rules.patch_indices(medium)
    for values, (place,), tile in zip(out, indices.coords, indices.frames, strict=True):
        if place == 0:
            assert not values.any()  # the class token's
            continue
        row, column = divmod(place - 1, 4)
        patch = expected[tile, :, 14 * row : 14 * row + 14, 14 * column : 14 * column + 14]
        np.testing.assert_array_equal(values, patch.reshape(-1))


def test_cut_tiles():
    canvas = np.arange(6 * 4 * 3, dtype=np.uint8).reshape(6, 4, 3)
    expected = divide_to_patches(canvas.transpose(2, 0, 1), 2)
    found = tiles.cut_tiles(canvas, 2)
    np.testing.assert_array_equal(found.transpose(0, 3, 1, 2), np.stack(expected))


def _apply(values, taps):
    index, weights = tiles.grid_taps(np.arange(values.size).reshape(values.shape), *taps)
    return (values.reshape(-1)[index] * weights).sum(axis=-1)


@pytest.mark.parametrize("old, new", [((27, 27), (14, 14)), ((70, 45), (51, 33)), ((5, 4), (9, 2))])
def test_linear_taps(old, new):
    values = np.random.default_rng(0).normal(size=old).astype(np.float32)
    expected = torch.nn.functional.interpolate(
        torch.tensor(values)[None, None], size=new, mode="bilinear"
    )
    taps = [tiles.linear_taps(a, b) for a, b in zip(old, new, strict=True)]
    np.testing.assert_allclose(_apply(values, taps), expected[0, 0].numpy(), atol=1e-5)


@pytest.mark.parametrize("side, stride", [(24, 2), (5, 2), (9, 3), (4, 1)])
def test_mean_taps(side, stride):
    values = np.random.default_rng(0).normal(size=(side, side)).astype(np.float32)
    expected = torch.nn.functional.avg_pool2d(torch.tensor(values)[None], stride)[0]
    taps = [tiles.mean_taps(side, stride)] * 2
    np.testing.assert_allclose(_apply(values, taps), expected.numpy(), atol=1e-6)


def test_what_cannot_be_laid_out():
    for rules in (ONE, NEXT, OV):
        with pytest.raises(LayoutError, match="2010x10"):
            rules.lay_out(image_info(10, 2010), (0,), 1.0)
    with pytest.raises(ValueError, match="fit must be one of"):
        llava_1_5.layout.Layout(fit="squeeze")
    with pytest.raises(ValueError, match="multiples of image_size = 336"):
        llava_next_video.layout.Layout(canvases=((336, 500),))
    with pytest.raises(ValueError, match="image_max_tiles"):
        llava_onevision.layout.Layout(image_max_tiles=-1)
    medium = ONE.lay_out(video_info(3), (0, 1, 2), 1.0)
    with pytest.raises(ValueError, match="2 frames decoded, 3 laid out"):
        ONE.write_patches(
            np.zeros((2, 8, 8, 3), np.uint8), medium, np.zeros((3 * 577, 588), np.uint8)
        )
