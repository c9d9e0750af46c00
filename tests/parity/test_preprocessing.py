"""From files to model input, against the public preprocessing of Qwen's families.

Oracles: qwen-vl-utils 0.0.14 (`fetch_image`, `fetch_video`) and transformers' processors, run here
on the same files with Qwen's real tokenizer.
"""

import random

import numpy as np
import pytest
import torch
from PIL import Image
from qwen_vl_utils import vision_process
from transformers import AutoTokenizer
from transformers.models.qwen2_5_vl.processing_qwen2_5_vl import Qwen2_5_VLProcessor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor
from transformers.models.qwen2_vl.video_processing_qwen2_vl import Qwen2VLVideoProcessor

from input_pipeline.batches import RowShape, build_row
from input_pipeline.examples import Example, MediaRef, Turn
from input_pipeline.index import IndexSpec, lay_out
from input_pipeline.layout.dynamic_resolution import smart_resize
from input_pipeline.media import MediaInfo, probe
from input_pipeline.media.frames import decode_frames
from input_pipeline.media.images import read_image
from input_pipeline.text import ChatTokenizer
from tests.input_pipeline.layout.test_patches import photograph
from tests.input_pipeline.media_fixtures import write_clip
from tests.parity.qwen_files import write_tokenizer
from vsft_jax.models.qwen2_5_vl.layout import Layout

LAYOUT = Layout(image_max_pixels=400 * 784, video_min_pixels=16 * 784, video_max_pixels=60 * 784)
MEAN, STD = np.array(Qwen2VLImageProcessor.image_mean), np.array(Qwen2VLImageProcessor.image_std)
# Mean absolute difference in grey levels of 255 that resizing with OpenCV instead may make.
RESIZING = 1.3


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """photo.png 480×360, and clips of 40 and 31 frames; a tokenizer directory."""
    root = tmp_path_factory.mktemp("qwen")
    Image.fromarray(photograph()).save(root / "photo.png")
    write_clip(root / "long.mp4", 40, fps=10, size=(192, 128))
    write_clip(root / "short.mp4", 31, fps=25, size=(128, 96))
    write_tokenizer(root / "tokenizer")
    return root


def grey_levels(normalised: np.ndarray) -> np.ndarray:
    """Patches [P, 1176] back to 0 … 255."""
    channels = normalised.reshape(len(normalised), 3, -1)
    return ((channels * STD[:, None] + MEAN[:, None]) * 255).reshape(len(normalised), -1)


def test_smart_resize_equals_qwen_vl_utils():
    rng = random.Random(1)
    for _ in range(3000):
        height, width, factor = rng.randint(1, 4000), rng.randint(1, 4000), rng.choice([28, 32])
        if max(height, width) / min(height, width) > 200:
            continue
        low = rng.randint(1, 400) * factor**2
        high = low + rng.randint(0, 3000) * factor**2
        expected = vision_process.smart_resize(height, width, factor, low, high)
        assert smart_resize(height, width, factor, low, high) == expected


@pytest.mark.parametrize("frames, seed", [(4, 0), (16, 1), (64, 2), (256, 3), (768, 4)])
def test_frame_sizes_and_indices_equal_fetch_video(frames, seed, monkeypatch):
    """qwen-vl-utils' own `fetch_video`, its reader replaced by one that knows only lengths."""
    rng = random.Random(seed)
    layout = Layout()
    for _ in range(12):
        height, width = rng.choice([(720, 1280), (1080, 1920), (90, 160), (640, 360), (37, 500)])
        total, fps = rng.randint(frames, 20 * frames), rng.choice([10.0, 25.0, 30.0])
        seen = {}

        def reader(ele, total=total, fps=fps, height=height, width=width, seen=seen):
            n = vision_process.smart_nframes(ele, total_frames=total, video_fps=fps)
            seen["indices"] = torch.linspace(0, total - 1, n).round().long().tolist()
            video = torch.zeros((n, 1, 1, 1), dtype=torch.uint8).expand(n, 1, height, width)
            return video, {}, n / total * fps

        monkeypatch.setattr(vision_process, "get_video_reader_backend", lambda: "torchcodec")
        monkeypatch.setitem(vision_process.VIDEO_READER_BACKENDS, "torchcodec", reader)
        monkeypatch.setattr(
            vision_process.transforms.functional,
            "resize",
            lambda video, size, **_: torch.tensor(size),
        )
        size, sample_fps = vision_process.fetch_video(
            {"video": "clip.mp4", "nframes": frames}, return_video_sample_fps=True
        )
        info = MediaInfo("video", width, height, tuple(np.arange(total) / fps), total / fps)
        medium = layout.lay_out(info, tuple(seen["indices"]), 1.0)
        assert [medium.height, medium.width] == size.int().tolist()
        assert medium.interval == pytest.approx(1 / sample_fps)


@pytest.mark.parametrize("processor", [Qwen2VLImageProcessorPil, Qwen2VLImageProcessor])
def test_image_patches_are_close_to_transformers(files, processor):
    layout = Layout(image_max_pixels=100 * 784)  # shrinks the photograph
    medium = layout.lay_out(probe(MediaRef("image", str(files / "photo.png"))), (0,), 1.0)
    found = np.zeros((medium.patches, layout.patch_dim), np.uint8)
    layout.write_patches(read_image(str(files / "photo.png"))[None], medium, found)
    expected = processor(min_pixels=layout.image_min_pixels, max_pixels=layout.image_max_pixels)(
        images=[Image.open(files / "photo.png")], return_tensors="np"
    )
    assert expected["image_grid_thw"].tolist() == [list(medium.grid)]
    order = layout.vision_indices(medium).order
    wanted = grey_levels(expected["pixel_values"]).reshape(-1, 4, 1176)[order].reshape(-1, 1176)
    assert np.abs(found - wanted).mean() < RESIZING
    # …and it is the right patch in the right place: neighbours differ far more.
    assert np.abs(found[4:] - wanted[:-4]).mean() > 5 * RESIZING


def conversation(root) -> Example:
    photo = MediaRef("image", str(root / "photo.png"))
    long, short = (MediaRef("video", str(root / name)) for name in ("long.mp4", "short.mp4"))
    return Example(
        "both",
        "test",
        (
            Turn("system", ("Answer briefly. 简短回答。",)),
            Turn("user", (photo, "\nWhat is naïve about it? ", long, " And this: ")),
            Turn("assistant", ("Nothing 🎉\n\nat all.",)),
            Turn("user", (short, "Which number comes first, 数字?")),
            Turn("assistant", ("Zero.",)),
        ),
    )


def test_whole_processor_on_a_conversation(files):
    """Ids, grids, times and pixels of an image and two clips of different size, length and rate."""
    example = conversation(files)
    spec = IndexSpec(str(files / "tokenizer"), LAYOUT, {"kind": "fixed", "frames": 8}, 4096, 8192)
    store = lay_out([example], spec, mode="train")
    media = store[0][1].media
    chat = ChatTokenizer.load(files / "tokenizer", LAYOUT.media_tokens)
    row = build_row([store[0]], chat, LAYOUT, RowShape(4096, 8192))

    tokenizer = AutoTokenizer.from_pretrained(files / "tokenizer")
    processor = Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(
            min_pixels=LAYOUT.image_min_pixels, max_pixels=LAYOUT.image_max_pixels
        ),
        video_processor=Qwen2VLVideoProcessor(do_resize=False, do_sample_frames=False),
        tokenizer=tokenizer,
        chat_template=tokenizer.chat_template,
    )
    messages = [
        {
            "role": turn.role,
            "content": [
                {"type": "text", "text": part} if isinstance(part, str) else {"type": part.kind}
                for part in turn.parts
            ],
        }
        for turn in example.turns
    ]
    clips = []
    for ref, medium in list(zip(example.media, media, strict=True))[1:]:
        frames = torch.from_numpy(decode_frames(ref, medium.frame_indices).copy())
        frames = frames.permute(0, 3, 1, 2)
        size = [medium.height, medium.width]
        frames = vision_process.transforms.functional.resize(
            frames, size, vision_process.InterpolationMode.BICUBIC, antialias=True
        )
        clips.append(frames)
    expected = processor(
        text=[processor.apply_chat_template(messages, tokenize=False)],
        images=[Image.open(files / "photo.png")],
        videos=clips,
        return_tensors="np",
    )
    count = expected["input_ids"].shape[1]
    assert store[0][1].tokens == count
    np.testing.assert_array_equal(row["tokens"][:count], expected["input_ids"][0])
    assert expected["image_grid_thw"].tolist() == [list(media[0].grid)]
    assert expected["video_grid_thw"].tolist() == [list(medium.grid) for medium in media[1:]]

    start = 0
    kinds = iter(np.split(expected["pixel_values_videos"], [media[1].patches]))
    for medium in media:
        source = expected["pixel_values"] if medium.kind == "image" else next(kinds)
        order = LAYOUT.vision_indices(medium).order
        wanted = grey_levels(source).reshape(-1, 4, 1176)[order].reshape(-1, 1176)
        found = row["patches"][start : start + medium.patches]
        assert np.abs(found - wanted).mean() < 2 * RESIZING  # hard edges are painted in the clips
        start += medium.patches


def test_label_mask_token_by_token(files):
    chat = ChatTokenizer.load(files / "tokenizer", LAYOUT.media_tokens)
    tokenizer = AutoTokenizer.from_pretrained(files / "tokenizer")
    encoded = chat.encode(conversation(files))
    wanted, at = np.zeros(len(encoded.ids), bool), 0
    header = tokenizer.encode("<|im_start|>assistant\n")
    ids = encoded.ids.tolist()
    while at < len(ids):
        if ids[at : at + len(header)] == header:
            at += len(header)
            while not wanted[at - 1] or ids[at - 1] != tokenizer.convert_tokens_to_ids(
                "<|im_end|>"
            ):
                wanted[at] = True
                at += 1
        at += 1
    np.testing.assert_array_equal(encoded.loss_mask, wanted)
    assert tokenizer.decode(encoded.ids[wanted]) == "Nothing 🎉\n\nat all.<|im_end|>Zero.<|im_end|>"
