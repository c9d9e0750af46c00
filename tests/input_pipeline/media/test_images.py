"""Pixels and headers of images, against OpenCV, Pillow and known pictures."""

import contextlib
import io
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageFile, ImageOps, TiffImagePlugin, features

from input_pipeline.examples import MediaRef
from input_pipeline.media import MediaError, kind_of_file, probe
from input_pipeline.media.images import image_format, load_image, read_image
from tests.input_pipeline.media_fixtures import (
    exif_orientation,
    jpeg_with_orientation,
    painted_frame,
    read_number,
)

ROOT = Path(__file__).parents[3]
# Set where images are read, too; pytest starts each test without.
pytestmark = pytest.mark.filterwarnings(r"ignore::UserWarning:PIL\..*")


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

    keyed = Image.fromarray(np.array([[100, 7]], np.uint8))
    keyed.save(tmp_path / "keyed.png", transparency=7)
    assert read_image(str(tmp_path / "keyed.png")).tolist() == [[[100] * 3, [255] * 3]]


# ── Formats that Pillow decodes. ────────────────────────────────────────────────────────────────


def saved(path, image, **options):
    image.save(path, **options)
    return str(path)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("extension", ["tiff", "avif"])
def test_tiff_and_avif(tmp_path, extension, orientation):
    if extension == "avif" and not features.check("avif"):
        pytest.skip("Pillow was built without AVIF")
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 100, "subsampling": "4:4:4"} if extension == "avif" else {}
    picture = Image.fromarray(painted_frame(5, 60, 40))
    path = saved(tmp_path / f"a.{extension}", picture, exif=exif, **options)
    upright = picture.copy()
    upright.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(upright)).astype(int)
    image = read_image(path)
    assert np.abs(image - expected).max() <= (0 if extension == "tiff" else 8)
    info = probe(MediaRef("image", path))
    assert image.shape == (info.height, info.width, 3)
    assert kind_of_file(path) == "image"


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_deflate", "packbits", "jpeg", None])
def test_kinds_of_tiff(tmp_path, compression):
    pixels = painted_frame(9, 100, 40)
    picture = Image.fromarray(pixels)
    found = read_image(saved(tmp_path / "a.tif", picture, compression=compression))
    assert read_number(found) == 9
    assert compression == "jpeg" or np.array_equal(found, pixels)


def test_modes_of_tiff(tmp_path):
    deep = Image.fromarray(np.array([[0, 257 * 77, 65535]], np.uint16))
    assert read_image(saved(tmp_path / "deep.tif", deep))[0, :, 0].tolist() == [0, 77, 255]
    clear = Image.fromarray(np.array([[[100, 0, 0, 51]]], np.uint8))
    assert read_image(saved(tmp_path / "clear.tif", clear)).tolist() == [[[224, 204, 204]]]
    line = Image.fromarray(np.array([[True, False]]))
    assert read_image(saved(tmp_path / "line.tif", line)).tolist() == [[[255] * 3, [0] * 3]]
    floats = saved(tmp_path / "float.tif", Image.fromarray(np.ones((2, 2), np.float32)))
    with pytest.raises(MediaError, match="mode F") as caught:
        read_image(floats)
    assert caught.value.reason == "unsupported_format"


def test_a_bitmap_with_the_old_header(tmp_path):
    """OS/2's, whose width and height take two bytes each."""
    pixels = painted_frame(3, 100, 20)
    rows = pixels[::-1, :, ::-1].tobytes()
    header = struct.pack("<IHHIIHHHH", 26 + len(rows), 0, 0, 26, 12, 100, 20, 1, 24)
    path = tmp_path / "a.bmp"
    path.write_bytes(b"BM" + header + rows)
    assert probe(MediaRef("image", str(path))).width == 100
    np.testing.assert_array_equal(read_image(str(path)), pixels)


@pytest.mark.parametrize("bits", [1, 4, 8, 16, 24])
def test_kinds_of_bitmaps_with_the_old_header(tmp_path, bits):
    """A palette of three bytes a colour, which may hold fewer than it could."""
    colours = {1: 2, 4: 5, 8: 200}.get(bits, 0)
    palette = np.random.default_rng(0).bytes(3 * colours)
    stride = (60 * bits + 31) // 32 * 4
    rows = bytes(np.random.default_rng(1).integers(0, {4: 5, 8: 200}.get(bits, 256), stride * 20))
    start = 26 + len(palette)
    header = struct.pack("<IHHIIHHHH", start + len(rows), 0, 0, start, 12, 60, 20, 1, bits)
    path = tmp_path / "a.bmp"
    path.write_bytes(b"BM" + header + palette + rows)
    with Image.open(path) as image:
        np.testing.assert_array_equal(read_image(str(path)), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("rest", [bytes(2), bytes(1000), b"\xff\xff", b""])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_without_its_end_marker_is_read_as_by_pillow(tmp_path, progressive, rest):
    buffer = io.BytesIO()
    Image.fromarray(painted_frame(5, 160, 120)).save(buffer, "jpeg", progressive=progressive)
    path = tmp_path / "a.jpg"
    path.write_bytes(buffer.getvalue()[:-2] + rest)
    try:
        with Image.open(path) as image:
            expected = np.asarray(image)
    except OSError:
        with pytest.raises(MediaError) as caught:
            read_image(str(path))
        assert caught.value.reason == "truncated"
    else:
        np.testing.assert_array_equal(read_image(str(path)), expected)
    assert (not progressive and rest[:1] == b"\0") == ("expected" in locals())


@pytest.mark.parametrize("extension", ["tif", "avif"])
def test_damaged_tiff_and_avif_raise_nothing_else(tmp_path, extension):
    path = tmp_path / f"a.{extension}"
    Image.fromarray(painted_frame(1, 160, 120)).save(path)
    whole = path.read_bytes()
    rng = np.random.default_rng(6)
    refused = 0
    for _ in range(100):
        data = bytearray(whole)
        for _ in range(int(rng.integers(1, 20))):
            # Half of them among the first bytes, where the header is.
            place = rng.integers(len(data) if rng.integers(2) else 400)
            data[int(place)] = int(rng.integers(256))
        path.write_bytes(data[: int(rng.integers(1, len(data)))] if rng.integers(3) == 0 else data)
        try:
            info = probe(MediaRef("image", str(path)))
            assert read_image(str(path)).shape == (info.height, info.width, 3)
        except MediaError:
            refused += 1
    assert refused


# ── Headers. ────────────────────────────────────────────────────────────────────────────────────


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


@pytest.mark.parametrize("extension", ["jpg", "png", "webp", "gif", "bmp", "tif", "avif"])
def test_no_pixel_is_decoded_for_a_header(tmp_path, monkeypatch, extension):
    path = saved(tmp_path / f"a.{extension}", Image.fromarray(painted_frame(5, 60, 40)))

    def refuse(*_, **__):
        raise AssertionError("a pixel was decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", refuse)
    monkeypatch.setattr(cv2, "imdecode", refuse)
    data, header = load_image(path)
    assert header.displayed_size == (60, 40)
    assert image_format(data) == header.format


def test_an_orientation_behind_the_pixels_of_a_png(tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(painted_frame(5, 60, 40)).save(buffer, "png")
    data, end = buffer.getvalue()[:-12], buffer.getvalue()[-12:]
    path = tmp_path / "a.png"
    path.write_bytes(data + chunk(b"eXIf", exif_orientation(6)) + end)
    assert load_image(str(path))[1].displayed_size == (40, 60)


def test_large_pictures_within_the_bound_are_neither_warned_of_nor_refused(tmp_path):
    """Pillow would warn from 89 megapixels on, and refuse from 179."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 11500, 11500, 8, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(b""))
    path = tmp_path / "large.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b""))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_image(str(path))[1].displayed_size == (11500, 11500)


def test_several_pictures_in_a_jpeg(tmp_path):
    """Cameras append a preview (MPO): the first one is read."""
    first, second = (Image.fromarray(painted_frame(n, 80, 40)) for n in (5, 6))
    path = saved(tmp_path / "a.jpg", first, format="MPO", save_all=True, append_images=[second])
    expected = cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB)
    np.testing.assert_array_equal(read_image(path), expected)
    assert probe(MediaRef("image", path)).width == 80


@pytest.mark.parametrize("exif", [b"", b"Exif\0\0", b"II*\0\xff\xff\xff\xff", exif_orientation(9)])
def test_damaged_exif_is_no_orientation(tmp_path, exif):
    buffer = io.BytesIO()
    Image.fromarray(painted_frame(5, 60, 40)).save(buffer, "png")
    data, end = buffer.getvalue()[:-12], buffer.getvalue()[-12:]
    path = tmp_path / "a.png"
    path.write_bytes(data + chunk(b"eXIf", exif) + end)
    assert load_image(str(path))[1].orientation == 1


def test_no_warning_of_libpng_is_printed(tmp_path):
    """It would print one for each of these chunks: 64 MB for a file of 60."""
    path = tmp_path / "a.png"
    buffer = io.BytesIO()
    Image.fromarray(painted_frame(5, 60, 40)).save(buffer, "png")
    data = buffer.getvalue()
    extra = chunk(b"gAMA", bytes(4)) * 50 + chunk(b"tIME", bytes(7)) * 50
    path.write_bytes(data[:33] + extra + data[33:])
    code = (
        f"from input_pipeline.media.images import read_image; print(read_image({str(path)!r})[0])"
    )
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert said.stderr == "" and said.stdout
    np.testing.assert_array_equal(read_image(str(path)), painted_frame(5, 60, 40))
    endless = data[:33] + chunk(b"teXt", b"") * 2**20 + data[33:]
    path.write_bytes(endless)
    with pytest.raises(MediaError, match="chunks"):
        read_image(str(path))


def test_nothing_is_printed_about_damage(tmp_path):
    path = saved(tmp_path / "a.tif", Image.fromarray(painted_frame(1, 40, 30)))
    data = bytearray((tmp_path / "a.tif").read_bytes())
    entry = data.index(struct.pack("<HH", 262, 3))  # says how colours are stored, once
    struct.pack_into("<I", data, entry + 4, 7)
    (tmp_path / "a.tif").write_bytes(data)
    code = f"from input_pipeline.media.images import load_image; load_image({path!r})"
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert "Warning" not in said.stderr
    with pytest.warns(UserWarning, match="too many"), contextlib.suppress(SyntaxError):
        warnings.simplefilter("always")
        TiffImagePlugin.TiffImageFile(path)
