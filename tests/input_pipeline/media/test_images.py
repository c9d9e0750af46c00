"""Pixels and headers of images, against OpenCV, Pillow and known pictures."""

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from input_pipeline.examples import MediaRef
from input_pipeline.media import probe
from input_pipeline.media.images import read_image
from tests.input_pipeline.media_fixtures import (
    exif_orientation,
    jpeg_with_orientation,
    painted_frame,
)


def save(path, pixels_rgb):
    if pixels_rgb.ndim == 3:
        order = [2, 1, 0, 3][: pixels_rgb.shape[2]]
        pixels_rgb = np.ascontiguousarray(pixels_rgb[:, :, order])
    assert cv2.imwrite(str(path), pixels_rgb)
    return str(path)


@pytest.mark.parametrize("extension", [".png", ".bmp", ".jpg", ".webp"])
def test_image_is_rgb(tmp_path, extension):
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:, :30] = 200, 30, 10
    pixels[:, 30:] = 10, 30, 200
    image = read_image(save(tmp_path / f"a{extension}", pixels))
    assert image.shape == (40, 60, 3) and image.dtype == np.uint8
    tolerance = 0 if extension in (".png", ".bmp") else 12
    np.testing.assert_allclose(image[20, 10].astype(int), [200, 30, 10], atol=tolerance)
    np.testing.assert_allclose(image[20, 50].astype(int), [10, 30, 200], atol=tolerance)


def test_transparency_is_shown_over_white(tmp_path):
    pixels = np.zeros((2, 3, 4), np.uint8)
    pixels[..., 0] = 100
    pixels[0, :, 3] = 0, 255, 51
    image = read_image(save(tmp_path / "a.png", pixels))
    # alpha 51 = 0.2: 0.2 * 100 + 0.8 * 255 = 224; 0.8 * 255 = 204
    assert image[0].tolist() == [[255, 255, 255], [100, 0, 0], [224, 204, 204]]


def test_grey_and_sixteen_bits(tmp_path):
    grey = np.array([[0, 128, 255]], np.uint8)
    assert read_image(save(tmp_path / "grey.png", grey)).tolist() == [
        [[0, 0, 0], [128, 128, 128], [255, 255, 255]]
    ]
    deep = np.array([[0, 257 * 77, 65535]], np.uint16)
    assert read_image(save(tmp_path / "deep.png", deep))[0, :, 0].tolist() == [0, 77, 255]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, orientation):
    jpeg = cv2.imencode(".jpg", painted_frame(5, 150, 90))[1].tobytes()
    path = tmp_path / "turned.jpg"
    path.write_bytes(jpeg_with_orientation(jpeg, orientation))
    expected = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    np.testing.assert_array_equal(read_image(str(path)), expected)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("extension", ["png", "webp"])
def test_exif_orientation_outside_jpeg(tmp_path, extension, orientation):
    path = tmp_path / f"turned.{extension}"
    image = Image.fromarray(painted_frame(5, 60, 40))
    image.save(path, exif=b"Exif\0\0" + exif_orientation(orientation), lossless=True)
    with Image.open(path) as reopened:
        expected = np.asarray(ImageOps.exif_transpose(reopened).convert("RGB"))
    image = read_image(str(path))
    np.testing.assert_array_equal(image, expected)
    info = probe(MediaRef("image", str(path)))
    assert image.shape == (info.height, info.width, 3)


def test_palette_with_transparency(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putdata([0, 1])
    image.save(tmp_path / "palette.png", transparency=1)
    assert read_image(str(tmp_path / "palette.png")).tolist() == [[[10, 20, 30], [255, 255, 255]]]


def test_grey_with_transparency(tmp_path):
    image = Image.fromarray(np.array([[[100, 255], [100, 0]]], np.uint8), "LA")
    image.save(tmp_path / "grey_alpha.png")
    assert read_image(str(tmp_path / "grey_alpha.png")).tolist() == [
        [[100, 100, 100], [255, 255, 255]]
    ]
