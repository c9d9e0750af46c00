"""Four examples laid out for small rows, and the tokenizer they were laid out with."""

import cv2
import numpy as np
import pytest

from input_pipeline.examples import Example, MediaRef, Turn
from input_pipeline.layout import layout_example
from input_pipeline.media import probe
from input_pipeline.text import ChatTokenizer
from tests.input_pipeline import tiny_qwen
from tests.input_pipeline.batches.small_rows import RULES, SHAPE
from tests.input_pipeline.media_fixtures import write_clip


@pytest.fixture(scope="package")
def chat(tmp_path_factory):
    return ChatTokenizer.load(
        tiny_qwen.write_checkpoint(tmp_path_factory.mktemp("tiny_qwen")), RULES.media_tokens
    )


@pytest.fixture(scope="package")
def media(tmp_path_factory):
    """An image of 2 tokens, a clip whose 4 frames make 2 × 12 tokens, and a broken clip."""
    folder = tmp_path_factory.mktemp("media")
    picture = np.random.default_rng(0).integers(0, 256, (28, 56, 3), dtype=np.uint8)
    cv2.imwrite(str(folder / "a.png"), picture[:, :, ::-1])
    clip = write_clip(folder / "b.mp4", frames=4, fps=2, size=(112, 84))
    (folder / "broken.mp4").write_bytes(clip.read_bytes())
    return {
        "picture": picture,
        "image": MediaRef("image", str(folder / "a.png")),
        "video": MediaRef("video", str(clip)),
        "broken": MediaRef("video", str(folder / "broken.mp4")),
    }


@pytest.fixture(scope="package")
def store(chat, media):
    """Text alone; image; video and image; a clip that breaks after it was laid out."""
    conversations = [
        (("Hi",), "Hello"),
        ((media["image"], "\nWhat?"), "Noise."),
        ((media["video"], "then", media["image"], "?"), "Both."),
        ((media["broken"], "Count."), "Three."),
    ]
    items = []
    for number, (parts, answer) in enumerate(conversations):
        turns = (Turn("user", tuple(parts)), Turn("assistant", (answer,)))
        example = Example(f"ex{number}", "toy", turns)
        infos = [probe(ref) for ref in example.media]
        budgets = [info.frames for info in infos]
        encode = lambda _, example=example: chat.encode(example)  # noqa: E731
        layout = layout_example(RULES, encode, infos, budgets, SHAPE.tokens, SHAPE.patches)
        items.append((example, layout))
    with open(media["broken"].path, "wb") as file:
        file.write(b"no longer a clip")
    return items
