"""From files to Qwen3-VL's input, against transformers' processor and qwen-vl-utils."""

import random

import numpy as np
import pytest
import torch
from PIL import Image
from qwen_vl_utils import vision_process
from transformers import AutoTokenizer
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.qwen3_vl import video_processing_qwen3_vl
from transformers.models.qwen3_vl.processing_qwen3_vl import Qwen3VLProcessor
from transformers.models.qwen3_vl.video_processing_qwen3_vl import Qwen3VLVideoProcessor

from input_pipeline.batches import RowShape, build_row
from input_pipeline.examples import Example, MediaRef, Turn
from input_pipeline.index import IndexSpec, lay_out
from input_pipeline.media import MediaInfo
from input_pipeline.media.frames import decode_frames
from input_pipeline.text import ChatTokenizer
from tests.input_pipeline.layout.test_patches import photograph
from tests.input_pipeline.media_fixtures import write_clip
from tests.parity.qwen3_reference import hf_model
from tests.parity.qwen_files import write_tokenizer
from vsft_jax.models.qwen3_vl import FAMILY as qwen3_vl
from vsft_jax.models.qwen3_vl.layout import TRANSFORMERS_SIZES, Layout, grid_times

UNIT = 32 * 32
LAYOUT = Layout(image_max_pixels=100 * UNIT, video_min_pixels=8 * UNIT, video_max_pixels=20 * UNIT)
# Qwen3-VL's conversation format, written out from its description: no default system prompt.
TEMPLATE = """\
{% for message in messages -%}
<|im_start|>{{ message['role'] }}
{% for part in message['content'] -%}
{% if part['type'] == 'text' %}{{ part['text'] }}
{%- else %}<|vision_start|><|{{ part['type'] }}_pad|><|vision_end|>{{ '' }}
{%- endif %}
{%- endfor %}<|im_end|>
{% endfor -%}
{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}
"""
# Mean absolute difference in grey levels of 255 that resizing with OpenCV instead may make.
RESIZING = 1.3


def info(kind: str, height: int, width: int, frames: int = 1, fps: float = 10.0) -> MediaInfo:
    return MediaInfo(kind, width, height, tuple(i / fps for i in range(frames)), frames / fps)


@pytest.fixture(scope="module")
def processor(tmp_path_factory):
    """transformers' processor with Qwen's real tokenizer, for media that are sampled already."""
    directory = write_tokenizer(tmp_path_factory.mktemp("qwen3"), TEMPLATE)
    tokenizer = AutoTokenizer.from_pretrained(directory)
    files = qwen3_vl.processor_files(qwen3_vl.published("2b"), LAYOUT)
    return Qwen3VLProcessor(
        image_processor=Qwen2VLImageProcessorPil(**files["preprocessor_config.json"]),
        video_processor=Qwen3VLVideoProcessor(do_resize=False, do_sample_frames=False),
        tokenizer=tokenizer,
        chat_template=tokenizer.chat_template,
    )


def test_whole_processor_on_a_conversation(processor, tmp_path):
    """Ids, grids and pixels of an image and two clips of different size, length and rate.

    transformers 5.23 puts the blocks of a clip where the template has <|video_pad|> and so leaves a
    start and an end of vision around all of them; 4.57 replaced these too, which is what we do.
    """
    Image.fromarray(photograph()).save(tmp_path / "photo.png")
    clips = {"long.mp4": dict(fps=10, size=(192, 128)), "short.mp4": dict(fps=25, size=(128, 96))}
    for (name, options), count in zip(clips.items(), (40, 31), strict=True):
        write_clip(tmp_path / name, count, **options)
    photo = MediaRef("image", str(tmp_path / "photo.png"))
    long, short = (MediaRef("video", str(tmp_path / name)) for name in clips)
    example = Example(
        "both",
        "test",
        (
            Turn("user", (photo, "\nWhat is naïve about it? ", long, " And this: ")),
            Turn("assistant", ("Nothing 🎉\n\nat all.",)),
            Turn("user", (short, "Which number comes first, 数字?")),
            Turn("assistant", ("Zero.",)),
        ),
    )
    directory = write_tokenizer(tmp_path / "tokenizer", TEMPLATE)
    spec = IndexSpec(str(directory), LAYOUT, {"kind": "fixed", "frames": 10}, 4096, 8192)
    store = lay_out([example], spec, mode="train")
    media = store[0][1].media
    chat = ChatTokenizer.load(directory, LAYOUT.media_tokens)
    row = build_row([store[0]], chat, LAYOUT, RowShape(4096, 8192))

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
    sized, metadata = [], []
    for ref, medium, options in zip((long, short), media[1:], clips.values(), strict=True):
        frames = torch.from_numpy(decode_frames(ref, medium.frame_indices).copy())
        sized.append(
            vision_process.transforms.functional.resize(
                frames.permute(0, 3, 1, 2),
                [medium.height, medium.width],
                vision_process.InterpolationMode.BICUBIC,
                antialias=True,
            )
        )
        indices = list(medium.frame_indices)
        metadata.append(
            {"fps": options["fps"], "frames_indices": indices, "total_num_frames": 1 + indices[-1]}
        )
    text = processor.apply_chat_template(messages, tokenize=False)
    wrapped = "<|vision_start|><|video_pad|><|vision_end|>"
    assert text.count(wrapped) == 2
    expected = processor(
        text=[text.replace(wrapped, "<|video_pad|>")],
        images=[Image.open(tmp_path / "photo.png")],
        videos=sized,
        video_metadata=metadata,
        return_tensors="np",
    )
    count = expected["input_ids"].shape[1]
    assert store[0][1].tokens == count
    np.testing.assert_array_equal(row["tokens"][:count], expected["input_ids"][0])
    assert chat.decode(row["tokens"][:count]).count(" seconds>") == 10
    assert expected["image_grid_thw"].tolist() == [list(media[0].grid)]
    assert expected["video_grid_thw"].tolist() == [list(medium.grid) for medium in media[1:]]
    np.testing.assert_array_equal(
        row["visual_index"][:count, 0] >= 0, expected["mm_token_type_ids"][0] > 0
    )

    positions, _ = hf_model().model.get_rope_index(
        *(torch.from_numpy(expected[name]) for name in ("input_ids", "mm_token_type_ids")),
        *(torch.from_numpy(expected[f"{kind}_grid_thw"]) for kind in ("image", "video")),
    )
    np.testing.assert_array_equal(row["positions"][:count].T, positions[:, 0].numpy())
    sizes = [(medium.grid[1:], medium.patches) for medium in media]
    np.testing.assert_array_equal(
        row["patch_coords"][: store[0][1].patches, 2:],
        np.concatenate([np.broadcast_to(size, (patches, 2)) for size, patches in sizes]),
    )
    assert row["patch_frames"].max() == sum(medium.grid[0] for medium in media)

    wanted = np.concatenate([expected["pixel_values"], expected["pixel_values_videos"]])
    found = row["patches"][: len(wanted)]
    assert len(wanted) == store[0][1].patches
    difference = np.abs(found - (wanted * 0.5 + 0.5) * 255)
    assert difference.mean() < 2 * RESIZING  # hard edges are painted in the clips
    # …and it is the right patch in the right place: neighbours differ far more.
    assert np.abs(found[4:] - (wanted[:-4] * 0.5 + 0.5) * 255).mean() > 5 * RESIZING


def test_times_are_transformers(processor):
    """At a constant rate: any length, odd ones included, any rate."""
    rng = random.Random(0)
    for _ in range(300):
        fps = rng.choice([1, 10, 23.976, 24, 25, 29.97, 30, 30000 / 1001])
        count = rng.randint(1, 20)
        indices = sorted(rng.sample(range(1000), count))
        expected = processor._calculate_timestamps(list(indices), fps, 2)
        found = grid_times(tuple(index / fps for index in indices), 2)
        assert found == expected


def test_text_of_a_clip():
    medium = LAYOUT.lay_out(info("video", 64, 96, 40, fps=8.0), (0, 9, 20, 39), 1.0)
    old, new = LAYOUT.placeholder(medium)
    assert old == "<|vision_start|><|video_pad|><|vision_end|>"
    assert new == f"<0.6 seconds>{old}<3.7 seconds>{old}"
    assert medium.placeholders == len(LAYOUT.blocks(medium)) == 2
    assert sum(len(block.offsets) for block in LAYOUT.blocks(medium)) == medium.tokens
    image = LAYOUT.lay_out(info("image", 64, 96), (0,), 1.0)
    assert LAYOUT.placeholder(image) is None
    assert image.placeholders == len(LAYOUT.blocks(image)) == 1


def test_default_sizes_equal_fetch_video(monkeypatch):
    """qwen-vl-utils' own `fetch_video`, its reader replaced by one that knows only lengths."""
    rng = random.Random(0)
    layout, clip = Layout(), {}
    monkeypatch.setattr(vision_process, "get_video_reader_backend", lambda: "torchcodec")
    monkeypatch.setitem(
        vision_process.VIDEO_READER_BACKENDS,
        "torchcodec",
        lambda _: (torch.zeros((1, 1, 1, 1), dtype=torch.uint8).expand(*clip["shape"]), {}, 2.0),
    )
    monkeypatch.setattr(
        vision_process.transforms.functional, "resize", lambda video, size, **_: torch.tensor(size)
    )
    for _ in range(60):
        height, width = rng.choice([(720, 1280), (1080, 1920), (90, 160), (640, 360), (37, 500)])
        frames = 2 * rng.randint(1, 384)
        clip["shape"] = (frames, 1, height, width)
        size = vision_process.fetch_video({"video": "clip.mp4"}, image_patch_size=16)
        medium = layout.lay_out(info("video", height, width, frames), tuple(range(frames)), 1.0)
        assert [medium.height, medium.width] == size.int().tolist()
        image = layout.lay_out(info("image", height, width), (0,), 1.0)
        expected = vision_process.smart_resize(height, width, 32)
        assert (image.height, image.width) == expected


def test_sizes_of_the_released_processors():
    """With TRANSFORMERS_SIZES, those of transformers at the released size settings."""
    rng = random.Random(0)
    layout = Layout(**TRANSFORMERS_SIZES)
    images = Qwen2VLImageProcessorPil(
        size={"shortest_edge": 65536, "longest_edge": 16777216}, patch_size=16, merge_size=2
    )
    for _ in range(300):
        height, width = rng.randint(32, 2200), rng.randint(32, 2200)
        frames = 2 * rng.randint(2, 384)
        medium = layout.lay_out(info("video", height, width, frames), tuple(range(frames)), 1.0)
        assert (medium.height, medium.width) == video_processing_qwen3_vl.smart_resize(
            frames, height, width, factor=32, min_pixels=4096, max_pixels=25165824
        )
        image = layout.lay_out(info("image", height, width), (0,), 1.0)
        assert image.patches == images.get_number_of_image_patches(height, width)


def test_processor_files_say_the_layout_s_sizes():
    """transformers' processors, made from them, give our sizes."""
    rng = random.Random(1)
    layout = Layout(video_max_pixels=300 * UNIT, video_total_pixels=4000 * UNIT)
    files = qwen3_vl.processor_files(qwen3_vl.published("4b"), layout)
    images = Qwen2VLImageProcessorPil(**files["preprocessor_config.json"])
    videos = Qwen3VLVideoProcessor(**files["video_preprocessor_config.json"])
    for _ in range(100):
        # Large enough not to be enlarged, which transformers decides by the whole clip.
        height, width, frames = (
            rng.randint(400, 2200),
            rng.randint(400, 2200),
            2 * rng.randint(1, 64),
        )
        medium = layout.lay_out(info("video", height, width, frames), tuple(range(frames)), 1.0)
        assert medium.patches == videos.get_num_of_video_patches(frames, height, width)
        image = layout.lay_out(info("image", height, width), (0,), 1.0)
        assert image.patches == images.get_number_of_image_patches(height, width)
