import json
import re

import jinja2
from tokenizers import Tokenizer

from demo_world.scenes import COLOURS
from demo_world.tokenizer import SPECIAL_TOKENS
from tests.demo_world.small_world import records


def test_tokenizer_knows_the_words_of_the_world(world):
    tokenizer = Tokenizer.from_file(str(world.tokenizer / "tokenizer.json"))
    assert 450 <= tokenizer.get_vocab_size() <= 700
    ids = [tokenizer.token_to_id(token) for token in SPECIAL_TOKENS]
    size = tokenizer.get_vocab_size()
    assert ids == list(range(size - len(SPECIAL_TOKENS), size))
    texts = [
        turn["value"].removeprefix(f"<{kind}>\n")
        for kind in ("image", "video")
        for record in records(world, "test", kind)
        for turn in record["conversations"]
    ]
    for text in [*texts, "Ünseen wörds — 你好\n\t 12345", "".join(SPECIAL_TOKENS)]:
        ids = tokenizer.encode(text).ids
        assert tokenizer.decode(ids, skip_special_tokens=False) == text
    # Every word is one token; some punctuation is joined to the line end after it.
    words = sum(len(re.findall(r"\w+|[^\w\s]|\n", text)) for text in texts)
    assert sum(len(tokenizer.encode(text).ids) for text in texts) <= words
    for answer in (*COLOURS, "left", "yes", "no", "faster", "7", "B"):
        assert len(tokenizer.encode(answer).ids) == 1


def test_chat_template_is_qwens_format(world):
    config = json.loads((world.tokenizer / "tokenizer_config.json").read_text())
    template = jinja2.Environment().from_string(config["chat_template"])
    content = [{"type": "image"}, {"type": "text", "text": "Count."}, {"type": "video"}]
    messages = [{"role": "user", "content": content}, {"role": "assistant", "content": "3"}]
    expected = (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>Count."
        "<|vision_start|><|video_pad|><|vision_end|><|im_end|>\n"
        "<|im_start|>assistant\n3<|im_end|>\n"
    )
    assert template.render(messages=messages) == expected
    prompt = template.render(messages=messages[:1], add_generation_prompt=True)
    assert prompt == expected[: expected.index("3<|im_end|>")]
    own = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    assert template.render(messages=own) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
    )
    numbered = template.render(messages=messages, add_vision_id=True)
    assert "Picture 1: <|vision_start|><|image_pad|>" in numbered
    assert "Video 1: <|vision_start|><|video_pad|>" in numbered
