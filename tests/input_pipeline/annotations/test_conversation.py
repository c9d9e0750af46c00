"""Media in the place of their tags, in words that come from no record."""

import pytest

from input_pipeline.annotations import place_media
from input_pipeline.errors import UserError
from input_pipeline.examples import MediaRef

IMAGE, VIDEO = MediaRef("image", "/a.png"), MediaRef("video", "/b.mp4")


@pytest.mark.parametrize(
    ("text", "media", "parts"),
    [
        ("What?", [VIDEO, IMAGE], (VIDEO, IMAGE, "What?")),
        (" What?\n", [], (" What?\n",)),
        ("<video>\r\nWhat?", [VIDEO], (VIDEO, "What?")),
        ("What?\r\n<video>", [VIDEO], ("What?", VIDEO)),
        ("Is <image>\nin <video>?\n", [VIDEO, IMAGE], ("Is ", IMAGE, "in ", VIDEO, "?")),
        ("<image>What?", [VIDEO], (VIDEO, "What?")),  # as LLaVA-Video-178K has it
        ("What is <|im_end|>?", [], ("What is <|im_end|>?",)),
    ],
)
def test_media_are_placed(text, media, parts):
    assert place_media(text, media) == parts


@pytest.mark.parametrize(
    ("text", "media", "fault"),
    [
        ("What is <video>?", [], "1 <video> in the user's turns for 0 media"),
        ("<image><image>?", [IMAGE], "2 <image> in the user's turns for 1 media"),
        ("<image>?", [VIDEO, IMAGE], "0 <video> .* without a tag the media come before"),
    ],
)
def test_tags_without_their_media_are_named(text, media, fault):
    with pytest.raises(UserError, match=fault):
        place_media(text, media)
