"""What a directory's processor files state, against the processors that transformers makes of them:
the same pictures and clips become as many tokens."""

import importlib
import json

import numpy as np
import pytest
from transformers import AutoProcessor
from transformers.video_utils import VideoMetadata

from input_pipeline.media import MediaInfo
from tests.parity.released_directories import PROCESSORS, write_directory
from tests.vsft_jax.hf_fixtures import edit_json
from vsft_jax.config import Run
from vsft_jax.errors import ConfigError
from vsft_jax.models import FAMILIES

PICTURES = [(1500, 2000), (90, 1100), (300, 40), (336, 336)]
CLIPS = [(8, 96, 128), (4, 720, 400), (2, 40, 60), (6, 333, 210)]


@pytest.fixture
def directory(tmp_path, request):
    return write_directory(request.param, tmp_path / "model")


def our_layout(name, directory, **choices):
    config = importlib.import_module(f"configs.{name}").get_config(f"path={directory}")
    config.layout.update(choices)
    return Run(config, "").layout


def ours(layout, kind, frames, height, width):
    info = MediaInfo(kind, width, height, tuple(i / 8 for i in range(frames)), frames / 8)
    return layout.lay_out(info, tuple(range(frames)), 1.0)


def theirs(name, processor, kind, frames, height, width):
    """(visual tokens, grid in patches or None) by transformers."""
    pixels = np.zeros((frames, height, width, 3), np.uint8)
    as_images = kind == "image" or name == "llava_1_5"
    token = processor.image_token if as_images else processor.video_token
    counted = processor.image_token if name == "smolvlm" else token
    if as_images:
        found = processor(text=[token * frames], images=list(pixels), return_tensors="np")
    else:
        metadata = VideoMetadata(
            total_num_frames=frames, fps=8.0, frames_indices=list(range(frames))
        )
        found = processor(
            text=[token],
            videos=[pixels],
            video_metadata=[metadata],
            do_sample_frames=False,
            return_tensors="np",
        )
    ids = found["input_ids"][0]
    grid = found.get("image_grid_thw" if as_images else "video_grid_thw")
    count = int((ids == processor.tokenizer.convert_tokens_to_ids(counted)).sum())
    return count, None if grid is None else tuple(int(n) for n in grid[0])


def compare(name, directory, layout):
    processor = AutoProcessor.from_pretrained(directory)
    for kind, sizes in (("image", [(1, *s) for s in PICTURES]), ("video", CLIPS)):
        for size in sizes:
            medium = ours(layout, kind, *size)
            tokens, grid = theirs(name, processor, kind, *size)
            assert medium.tokens == tokens, (kind, size)
            assert grid in (None, medium.grid), (kind, size)


@pytest.mark.parametrize("directory", FAMILIES, indirect=True, ids=FAMILIES)
def test_released_files(directory, request):
    name = request.node.callspec.params["directory"]
    compare(name, directory, our_layout(name, directory))


def test_released_numbers(tmp_path):
    """Those of the issue that such files were ignored: a large picture and a small clip."""
    layout = our_layout("qwen2_5_vl", write_directory("qwen2_5_vl", tmp_path))
    assert ours(layout, "image", 1, 1500, 2000).tokens == 3834
    assert ours(layout, "video", 8, 112, 196).tokens == 112


@pytest.mark.parametrize("name", ["qwen2_5_vl", "qwen3_vl"])
@pytest.mark.parametrize("capped", [False, True])
def test_other_sizes_than_the_released(name, capped, tmp_path):
    """Of images and of clips, each in a file of its own, or both in one as transformers 5 saves."""
    directory = write_directory(name, tmp_path)
    image = PROCESSORS[name]["preprocessor_config.json"]
    edges = {"shortest_edge": 40000, "longest_edge": 300000}
    video = {"cap_pixels_per_frame": True, "max_video_tokens": 150} if capped else {}
    kind = {"qwen2_5_vl": "Qwen2VLVideoProcessor", "qwen3_vl": "Qwen3VLVideoProcessor"}[name]
    video |= {"size": edges, "video_processor_type": kind}
    sizes = {key: image[key] for key in ("patch_size", "merge_size", "image_mean", "image_std")}
    if capped:
        whole = {"image_processor": {**image, "size": edges}, "video_processor": sizes | video}
        for key in ("min_pixels", "max_pixels"):
            whole["image_processor"].pop(key, None)
        edit_json(directory / "preprocessor_config.json", min_pixels=1, max_pixels=2)
        whole["processor_class"] = image["processor_class"]
        (directory / "processor_config.json").write_text(json.dumps(whole))
    else:
        (directory / "video_preprocessor_config.json").write_text(json.dumps(sizes | video))
    compare(name, directory, our_layout(name, directory))


def test_the_config_beats_the_files_and_says_so(tmp_path, caplog):
    directory = write_directory("qwen2_5_vl", tmp_path)
    with caplog.at_level("INFO"):
        layout = our_layout("qwen2_5_vl", directory, image_max_pixels=12544)
    assert ours(layout, "image", 1, 1500, 2000).tokens <= 16
    (line,) = [text for text in caplog.messages if text.startswith("layout: ")]
    assert "image_min_pixels 3136, video_min_pixels 3136" in line
    assert "(preprocessor_config.json); image_max_pixels 12544, row_tokens 8192" in line
    assert line.endswith("(config.layout)")
    with pytest.raises(ConfigError, match=r"image_min_pixels=3136 .* \(preprocessor_config.json\)"):
        our_layout("qwen2_5_vl", directory, image_max_pixels=100)


def test_a_row_that_is_too_short_for_the_limits_is_named(tmp_path, caplog):
    our_layout("qwen2_5_vl", write_directory("qwen2_5_vl", tmp_path))
    assert "a picture may take 16129 tokens and 64516 patches, and a row holds" in caplog.text
    caplog.clear()
    our_layout("qwen2_5_vl", tmp_path, row_tokens=200_000, row_patches=80_000)
    assert "longer than the 128000 positions" in caplog.text
    assert "a picture may take" not in caplog.text


_IMAGE, _VIDEO, _WHOLE = (
    "preprocessor_config.json",
    "video_preprocessor_config.json",
    "processor_config.json",
)
_GREY = {"image_processor": {"image_mean": [0.5] * 3}}


@pytest.mark.parametrize(
    "name, file, change, message",
    [
        ("qwen2_5_vl", _IMAGE, {"do_resize": False}, "do_resize = False is not supported"),
        ("qwen2_5_vl", _IMAGE, {"do_normalize": False}, "do_normalize = False"),
        ("qwen2_5_vl", _IMAGE, {"do_rescale": False}, "do_rescale = False"),
        ("qwen2_5_vl", _IMAGE, {"rescale_factor": 1.0}, "rescale_factor = 1.0"),
        ("qwen2_5_vl", _IMAGE, {"resample": 2}, "resample = 2 is not supported"),
        ("qwen2_5_vl", _IMAGE, {"patch_size": 16}, "patch_size = 16, but the tower's is 14"),
        ("qwen2_5_vl", _IMAGE, {"merge_size": 4}, "merge_size = 4, but"),
        ("qwen2_5_vl", _IMAGE, {"temporal_patch_size": 1}, "temporal_patch_size = 1"),
        ("qwen2_5_vl", _IMAGE, {"min_pixels": 10**8}, "min_pixels 100000000 is above"),
        ("qwen2_5_vl", _IMAGE, {"size": {"height": 5, "width": 5}}, "size = .* not supported"),
        ("qwen2_5_vl", _IMAGE, {"max_pixels": "many"}, "max_pixels .* 'many': expected"),
        ("qwen2_5_vl", _IMAGE, {"image_std": [1]}, r"image_std = \[1\]: expected three"),
        ("qwen3_vl", _VIDEO, {"image_mean": [0.1] * 3}, "differs from that of images"),
        ("qwen3_vl", _VIDEO, {"video_processor_type": "Odd"}, "'Odd' is not supported"),
        ("llava_1_5", _IMAGE, {"crop_size": 224}, "makes no square of 336"),
        ("llava_1_5", _IMAGE, {"do_center_crop": False}, "makes no square of 336"),
        ("llava_1_5", _IMAGE, {"image_processor_type": "ViTImageProcessor"}, "'ViTImageProcessor'"),
        ("llava_1_5", _WHOLE, {"patch_size": 16}, "patch_size = 16, but the tower's is 14"),
        ("llava_next_video", _IMAGE, {"size": {"shortest_edge": 224}}, "336 pixels a side"),
        (
            "llava_next_video",
            _IMAGE,
            {"image_grid_pinpoints": [[336, 672]]},
            "image_grid_pinpoints",
        ),
        ("llava_onevision", _VIDEO, {"size": {"height": 224, "width": 224}}, "no square of 384"),
        ("smolvlm", _IMAGE, {"max_image_size": {"longest_edge": 384}}, "max_image_size = 384, but"),
        ("smolvlm", _IMAGE, {"size": {"height": 5, "width": 5}}, "only a longest_edge"),
        ("smolvlm", _IMAGE, {"size": {"longest_edge": 5000}}, "only a longest_edge of 1 … 4096"),
        ("smolvlm", _WHOLE, {"image_seq_len": 81}, "image_seq_len = 81, but the model's is 64"),
        ("llava_onevision", _WHOLE, {"vision_aspect_ratio": "anyres_max_4"}, "vision_aspect_ratio"),
        ("gemma4", _WHOLE, {"video_processor": {"max_soft_tokens": 100}}, "must be one of"),
        ("gemma4", _WHOLE, {"image_processor": {"pooling_kernel_size": 2}}, "the tower's is 3"),
        ("gemma4", _WHOLE, {"video_processor": None, **_GREY}, "only 0 and 1"),
    ],
)
def test_what_is_not_computed_here_is_named_with_its_file(name, file, change, message, tmp_path):
    directory = write_directory(name, tmp_path)
    edit_json(directory / file, **change)
    with pytest.raises(ConfigError, match=f"config.model.path = .*{file}: .*{message}"):
        our_layout(name, directory)


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_fits_of_llava_1_5(fit, tmp_path):
    directory = write_directory("llava_1_5", tmp_path)
    square = {"height": 336, "width": 336}
    change = {
        "crop": {},
        "pad": {"image_processor_type": "LlavaImageProcessor", "do_pad": True},
        "stretch": {"size": square, "do_center_crop": False},
    }[fit]
    edit_json(directory / "preprocessor_config.json", **change)
    assert our_layout("llava_1_5", directory).fit == fit
    assert our_layout("llava_1_5", directory, fit="pad").fit == "pad"
