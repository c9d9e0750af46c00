"""Chat encoding for tokenizers with a first token, and templates that leave answers open."""

import numpy as np
import pytest

from input_pipeline.examples import Example, MediaRef, Turn
from input_pipeline.text import ChatError, ChatTokenizer
from tests.input_pipeline import tiny_llama, tiny_qwen
from tests.input_pipeline.text.test_chat_tokenizer import as_messages

IMAGE, VIDEO = MediaRef("image", "/data/a.png"), MediaRef("video", "/data/b.mp4")


def example(*turns):
    return Example("ex", "toy", tuple(Turn(role, tuple(parts)) for role, *parts in turns))


ONE_TURN = example(("user", IMAGE, "What is it? 球 🎉"), ("assistant", "A ball."))
SEVERAL = example(
    ("system", "Be brief."),
    ("user", VIDEO, "What is it?", IMAGE),
    ("assistant", "A ball. "),
    ("user", "And then?"),
    ("assistant", "It rolls\naway."),
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return tiny_llama.write_checkpoint(tmp_path_factory.mktemp("tiny_llama"))


@pytest.fixture(scope="module")
def chat(checkpoint):
    return ChatTokenizer.load(checkpoint, tiny_llama.MEDIA_TOKENS)


@pytest.fixture(scope="module")
def oracle(checkpoint):
    transformers = pytest.importorskip("transformers")
    return transformers.PreTrainedTokenizerFast.from_pretrained(checkpoint)


def rendered(oracle, turns, **options) -> str:
    return oracle.apply_chat_template(as_messages(turns), tokenize=False, **options)


def test_prompt_ids_equal_transformers(chat, oracle):
    """A processor tokenises the rendered text, and the tokenizer puts <s> before it."""
    text = rendered(oracle, ONE_TURN.turns[:1], add_generation_prompt=True)
    ids = chat.encode_prompt(ONE_TURN).ids.tolist()
    assert ids == oracle(text)["input_ids"]
    assert ids[0] == oracle.bos_token_id and ids.count(oracle.bos_token_id) == 1


def test_a_first_token_that_the_template_writes_is_not_doubled(checkpoint, oracle):
    config = (checkpoint / "tokenizer_config.json").read_text()
    directory = checkpoint.parent / "writes_bos"
    tiny_llama.write_checkpoint(directory)
    (directory / "tokenizer_config.json").write_text(
        config.replace('"chat_template": "', '"chat_template": "{{ bos_token }}')
    )
    ids = ChatTokenizer.load(directory, tiny_llama.MEDIA_TOKENS).encode_prompt(ONE_TURN).ids
    assert (ids == oracle.bos_token_id).sum() == 1 and ids[0] == oracle.bos_token_id


def test_answers_end_with_eos_where_the_template_leaves_them_open(chat, oracle):
    text = rendered(oracle, SEVERAL.turns)
    assert "</s>" not in text
    closed = text.replace("A ball.  ", "A ball.</s>").replace("away. ", "away.</s>")
    encoded = chat.encode(SEVERAL)
    assert encoded.ids.tolist() == oracle(closed)["input_ids"]
    learnt = [oracle.decode(part) for part in np.split(encoded.ids, _edges(encoded.loss_mask))]
    assert learnt[1::2] == ["A ball.</s>", "It rolls\naway.</s>"]
    assert chat.stop_ids() == (oracle.eos_token_id,)


def test_history_in_a_prompt_is_what_was_trained_on(chat):
    prompt, whole = chat.encode_prompt(SEVERAL).ids, chat.encode(SEVERAL).ids
    assert whole[: len(prompt)].tolist() == prompt.tolist()


def test_templates_may_put_images_before_clips(chat):
    encoded = chat.encode(SEVERAL)
    order = encoded.ids[np.isin(encoded.ids, list(chat.media_ids.values()))].tolist()
    assert order == [chat.media_ids["image"], chat.media_ids["video"]]


def test_one_placeholder_for_both_kinds(tmp_path):
    tokens = {"image": "<image>", "video": "<image>"}
    chat = ChatTokenizer.load(tiny_llama.write_checkpoint(tmp_path, tokens), tokens)
    ids = chat.encode_prompt(example(("user", VIDEO, IMAGE, "Which?"))).ids
    assert (ids == chat.token_id("<image>")).sum() == 2


def _edges(mask):
    return np.flatnonzero(np.diff(mask.astype(int))) + 1


def test_an_end_that_is_no_token_is_refused(checkpoint):
    """The vocabulary has no <|im_end|>: it would be taught as letters."""
    directory = checkpoint.parent / "chatml"
    tiny_llama.write_checkpoint(directory)
    (directory / "chat_template.jinja").write_text(tiny_qwen.TEMPLATE)
    chat = ChatTokenizer.load(directory, tiny_llama.MEDIA_TOKENS)
    words = example(("user", "What is it?"), ("assistant", "A ball."))
    with pytest.raises(ChatError, match=r"does not close an answer: behind 'A ball.' stands '<\|i"):
        chat.encode(words)
    assert len(chat.encode_prompt(words).ids)
