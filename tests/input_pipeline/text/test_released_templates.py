"""What is taught with the templates of every family and size, against transformers' rendering."""

import functools
import importlib

import numpy as np
import pytest

from input_pipeline.examples import Example, MediaRef, Turn
from input_pipeline.text import ChatError, ChatTokenizer
from tests.input_pipeline.text.released_templates import RELEASED, Released
from vsft_jax.models import FAMILIES, family_named

IMAGE, VIDEO = MediaRef("image", "/data/a.png"), MediaRef("video", "/data/b.mp4")
# Sizes of one family differ in nothing here: of each pair of template and tokens, the first.
DISTINCT = list({str(released): name for name, released in reversed(RELEASED.items())}.values())
THINKING = ["qwen3_vl 2b thinking", "qwen3 hybrid", "qwen3_5 0.8b", "qwen3_5 4b"]


def example(*turns):
    return Example(
        "ex", "toy", tuple(t if isinstance(t, Turn) else Turn(t[0], t[1:]) for t in turns)
    )


CASES = {
    "one turn": example(("user", "How many?"), ("assistant", "Three times.")),
    "media": example(
        ("user", IMAGE, "\nWhat is it?"),
        ("assistant", "A ball."),
        ("user", "And here? ", VIDEO, " or ", IMAGE),
        ("assistant", "It rolls\naway.\n\nTwice."),
    ),
    "system, three turns": example(
        ("system", "Be brief."),
        ("user", "a?"),
        ("assistant", "one"),
        ("user", "b?"),
        ("assistant", "two"),
        ("user", "c?"),
        ("assistant", "three"),
    ),
    "the question again": example(
        ("user", "A ball."), ("assistant", "A ball."), ("user", "A ball."), ("assistant", "A ball.")
    ),
    "other writing": example(
        ("user", VIDEO, "数える: naïve café e\u0301 🎉"), ("assistant", "三回 🎉 s\u0323\u0307")
    ),
}


@pytest.fixture(scope="module")
def of(tmp_path_factory):
    """name -> (the released kind, ours, transformers' tokenizer)."""
    transformers = pytest.importorskip("transformers")

    @functools.cache
    def loaded(name):
        released = RELEASED[name]
        directory = released.write(tmp_path_factory.mktemp("released"))
        oracle = transformers.PreTrainedTokenizerFast.from_pretrained(directory)
        chat = ChatTokenizer.load(directory, released.media_tokens, released.clip_template)
        return released, chat, oracle

    return loaded


def as_messages(turns, released: Released):
    kinds = dict.fromkeys(("image", "video"))
    for kind in kinds:
        same = released.media_tokens["video"] == released.media_tokens["image"]
        kinds[kind] = "image" if same and not released.smol else kind
    return [
        {
            "role": turn.role,
            "content": [
                {"type": "text", "text": p} if isinstance(p, str) else {"type": kinds[p.kind]}
                for p in turn.parts
            ],
            **({"reasoning_content": turn.reasoning} if turn.reasoning else {}),
        }
        for turn in turns
    ]


def their_text(oracle, turns, released: Released, **asks) -> str:
    """By the template that transformers takes; its processor of SmolVLM has another for clips, of
    which this keeps an image's token."""
    clips = any(part is VIDEO for turn in turns for part in turn.parts)
    template = None
    if released.smol and clips:
        module = importlib.import_module("transformers.models.smolvlm.processing_smolvlm")
        template = module.DEFAULT_CHAT_TEMPLATE.replace("<video>", "<image>")
    messages = as_messages(turns, released)
    return oracle.apply_chat_template(messages, chat_template=template, tokenize=False, **asks)


def runs(encoded):
    """The learnt tokens, a list for each unbroken run of them."""
    edges = np.flatnonzero(np.diff(encoded.loss_mask.astype(int))) + 1
    parts = np.split(encoded.ids, edges)
    return parts[0 if encoded.loss_mask[0] else 1 :: 2]


def answers(conversation):
    return [turn.parts[0] for turn in conversation.turns if turn.role == "assistant"]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", DISTINCT)
def test_answers_and_their_ends_are_taught_and_nothing_else(name, case, of):
    released, chat, oracle = of(name)
    encoded = chat.encode(CASES[case])
    learnt = [oracle.decode(run) for run in runs(encoded)]
    wanted = oracle(
        [f"{answer}{released.end}" for answer in answers(CASES[case])], add_special_tokens=False
    )["input_ids"]
    # Decoded: NFC makes one form of é, and a first word of Llama's has its space.
    assert [text.strip() for text in learnt] == [oracle.decode(ids).strip() for ids in wanted]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", DISTINCT)
def test_text_is_transformers(name, case, of):
    released, chat, oracle = of(name)
    turns = CASES[case].turns
    text = their_text(oracle, turns, released)
    if released.vicuna:  # which leaves answers open
        for answer in answers(CASES[case]):
            head, mark, tail = text.rpartition(f"ASSISTANT: {answer} ")
            text = f"{head}{mark.rstrip()}</s>{tail}" if mark else text
            text = text.replace(f"ASSISTANT: {answer} USER", f"ASSISTANT: {answer}</s>USER")
    assert chat.encode(CASES[case]).ids.tolist() == oracle(text)["input_ids"]
    asked = their_text(oracle, turns[:1], released, add_generation_prompt=True)
    first = example(*turns[:1])
    assert chat.encode_prompt(first).ids.tolist() == oracle(asked)["input_ids"]


def test_onevisions_space_is_trained_as_rendered_and_asked_as_prompted(of):
    _, chat, oracle = of("llava_onevision 0.5b")
    whole = oracle.decode(chat.encode(CASES["one turn"]).ids)
    prompt = oracle.decode(chat.encode_prompt(CASES["one turn"]).ids)
    assert whole.endswith("<|im_start|>assistant \nThree times.<|im_end|>")
    assert prompt.endswith("<|im_start|>assistant\n")


@pytest.mark.parametrize("name", THINKING)
def test_an_empty_think_block_is_context(name, of):
    _, chat, oracle = of(name)
    encoded = chat.encode(CASES["the question again"])
    assert oracle.decode(encoded.ids).count("<think>") == 1
    assert [oracle.decode(run) for run in runs(encoded)] == ["A ball.<|im_end|>"] * 2


REASONED = {
    "field": Turn("assistant", ("It is two.",), "One and\none."),
    "content": Turn("assistant", ("<think>\nOne and\none.\n</think>\n\nIt is two.",)),
}


@pytest.mark.parametrize("where", REASONED)
@pytest.mark.parametrize("name", THINKING)
def test_reasoning_is_taught_from_where_the_prompt_ends(name, where, of):
    _, chat, oracle = of(name)
    asked = example(("user", "1 + 1?"), REASONED[where])
    encoded = chat.encode(asked)
    (learnt,) = (oracle.decode(run) for run in runs(encoded))
    # Where the prompt says that nothing is thought, what it says so with is not taught.
    prompt = oracle.decode(chat.encode_prompt(asked).ids).removesuffix("<think>\n\n</think>\n\n")
    assert prompt + learnt + "\n" == oracle.decode(encoded.ids)
    opening = "" if prompt.endswith("<think>\n") else "<think>\n"
    assert learnt == f"{opening}One and\none.\n</think>\n\nIt is two.<|im_end|>"


@pytest.mark.parametrize("where", REASONED)
@pytest.mark.parametrize("name", THINKING)
def test_earlier_reasoning_is_left_out_where_the_template_does(name, where, of):
    released, chat, oracle = of(name)
    asked = example(("user", "1 + 1?"), REASONED[where], ("user", "Sure?"), ("assistant", "Yes."))
    encoded = chat.encode(asked)
    learnt = [oracle.decode(run) for run in runs(encoded)]
    assert learnt == ["It is two.<|im_end|>", "Yes.<|im_end|>"]
    messages = as_messages(asked.turns, released)
    assert encoded.ids.tolist() == oracle.apply_chat_template(messages, return_dict=False)


def test_reasoning_that_the_template_does_not_render_is_refused(of):
    asked = example(("user", "1 + 1?"), REASONED["field"])
    with pytest.raises(ChatError, match="leaves out the reasoning of the last answer"):
        of("qwen2_5_vl 3b")[1].encode(asked)


@pytest.mark.parametrize("name", ["qwen2_5_vl 3b", "llava_onevision 0.5b"])
def test_reasoning_in_the_text_is_text_to_templates_without(name, of):
    _, chat, oracle = of(name)
    encoded = chat.encode(example(("user", "1 + 1?"), REASONED["content"]))
    (learnt,) = (oracle.decode(run) for run in runs(encoded))
    assert learnt == "<think>\nOne and\none.\n</think>\n\nIt is two.<|im_end|>"


# --- {% generation %} ---------------------------------------------------------------------------

MARKED = """\
{% for m in messages %}
{{ '<|im_start|>' + m.role + '\\n' }}
{%- if m.role == 'assistant' %}
{% generation %}
{%- set thought = m.reasoning_content %}
{%- if thought is string %}{{ '<think>\\n' + thought + '\\n</think>\\n\\n' }}
{%- elif loop.last and think %}{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}
{{- m.content[0].text + '<|im_end|>' }}
{%- endgeneration %}
{%- else %}
{% for part in m.content %}
{{- part.text if part.type == 'text' else '<|' + part.type + '_pad|>' }}
{%- endfor %}
{{ '<|im_end|>' }}
{%- endif %}
{{ '\\n' }}
{%- endfor %}
{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}
"""


def marked(tmp_path, template):
    transformers = pytest.importorskip("transformers")
    released = Released(template, RELEASED["qwen2_5_vl 3b"].media_tokens)
    directory = released.write(tmp_path / "marked")
    oracle = transformers.PreTrainedTokenizerFast.from_pretrained(directory)
    return ChatTokenizer.load(directory, released.media_tokens), oracle, released


@pytest.mark.parametrize("think", ["true", "false"])
def test_marks_of_the_template_give_the_mask_of_transformers(think, tmp_path):
    chat, oracle, released = marked(tmp_path, MARKED.replace("and think", f"and {think}"))
    reasoned = example(("user", "1 + 1?"), REASONED["field"])
    for conversation in (*CASES.values(), reasoned):
        found = oracle.apply_chat_template(
            as_messages(conversation.turns, released),
            return_assistant_tokens_mask=True,
            return_dict=True,
        )
        encoded = chat.encode(conversation)
        assert encoded.ids.tolist() == found["input_ids"]
        assert encoded.loss_mask.astype(int).tolist() == found["assistant_masks"]


@pytest.mark.parametrize("name", ["llava_next_video 34b", "llava_onevision 0.5b"])
def test_marks_without_the_end_of_turn_are_completed(name, of):
    """What ends a turn stands behind the blocks of LLaVA's templates, OneVision's line break in
    them: of that the mask of transformers differs, and of nothing else."""
    released, chat, oracle = of(name)
    for case in CASES.keys() - {"other writing"}:  # where NFC joins letters, theirs goes on behind
        conversation = CASES[case]
        found = oracle.apply_chat_template(
            as_messages(conversation.turns, released),
            return_assistant_tokens_mask=True,
            return_dict=True,
        )
        encoded = chat.encode(conversation)
        theirs = np.array(found["assistant_masks"], bool)
        more, less = encoded.loss_mask & ~theirs, theirs & ~encoded.loss_mask
        assert oracle.decode(encoded.ids[more]) == "<|im_end|>" * len(answers(conversation))
        assert oracle.decode(encoded.ids[less]).strip() == ""


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("{% generation %}", "{% generation %}{{ 'So: ' }}", "marks 'So: ' before an answer"),
        ("'<|im_end|>' }}\n{%- endgen", "'<|im_end|>OK' }}\n{%- endgen", "marks 'OK' behind an"),
        ("if m.role == 'assistant'", "if m.role == 'user'", "leaves the answer 'Three times.' out"),
        ("if m.role == 'assistant'", "if m.role", "marks 'How many"),
        ("m.content[0].text", "'Sure. '", "renders 0 answers of 1"),
        ("m.content[0].text", "m.content[0].text | upper | lower", "renders the answer 'Three"),
        ("m.content[0].text", "m.content[0].text[:13]", "cuts an answer"),
        (
            "m.content[0].text",
            "m.content[0].text + (m.content[0].text | length | string)",
            "looks into the answers",
        ),
        ("m.content[0].text", "m.content[0].text + m.content[0].text", "renders 2 answers of 1"),
        (
            "text + '<|im_end|>' }}\n{%- endgeneration %}",
            "text }}{% endgeneration %}.<|im_end|>",
            "does not close an answer: behind .* stands '.<",
        ),
    ],
)
def test_marks_of_anything_else_are_refused(old, new, fault, tmp_path):
    assert old in MARKED
    chat, _, _ = marked(tmp_path, MARKED.replace(old, new))
    with pytest.raises(ChatError, match=rf"'ex'.*marked/chat_template.jinja {fault}"):
        chat.encode(CASES["one turn"])


def test_an_answer_outside_of_the_marks_is_refused(tmp_path):
    last = MARKED.replace("m.role == 'assistant' %}", "m.role == 'assistant' and loop.last %}")
    chat, _, _ = marked(tmp_path, last)
    chat.encode(CASES["one turn"])
    with pytest.raises(ChatError, match="leaves the answer 'A ball.' out of its {% generation %}"):
        chat.encode(CASES["the question again"])


@pytest.mark.parametrize("change", ["| trim", "| replace('\\n', ' ')", "[:1000]"])
def test_templates_may_strip_and_are_followed_or_refused(change, tmp_path):
    plain = RELEASED["qwen3_vl 2b"].template.replace(
        "{{ part.text }}", f"{{{{ part.text {change} }}}}"
    )
    assert plain != RELEASED["qwen3_vl 2b"].template
    chat, oracle, released = marked(tmp_path, plain)
    conversation = example(("user", "How?"), ("assistant", " Fast. "))
    encoded = chat.encode(conversation)
    words = "Fast." if "trim" in change else " Fast. "
    assert [oracle.decode(run) for run in runs(encoded)] == [f"{words}<|im_end|>"]
    messages = as_messages(conversation.turns, released)
    assert encoded.ids.tolist() == oracle.apply_chat_template(messages, return_dict=False)


def test_a_date_does_not_change_overnight(tmp_path):
    dated = "{{ strftime_now('%d %b %Y') }}" + RELEASED["qwen3_vl 2b"].template
    chat, oracle, _ = marked(tmp_path, dated)
    assert oracle.decode(chat.encode(CASES["one turn"]).ids).startswith("01 Jan 2025<|im_start|>")


def test_every_family_and_size_has_its_template():
    wanted = {f"{name} {size}" for name in FAMILIES for size in family_named(name).sizes}
    assert wanted <= RELEASED.keys()
