"""Templates that take too much or fail, by themselves and inside a tokenizer directory."""

import time

import pytest

from input_pipeline.examples import Example, Turn
from input_pipeline.text import ChatError, ChatTokenizer, sandbox
from tests.input_pipeline import tiny_qwen

ROUNDS = "{% for i in range(60) %}"
ENDLESS = "{% for a in range(99999) %}" * 4 + "{% endfor %}" * 4
CONVERSATION = Example("ex", "toy", (Turn("user", ("boom",)), Turn("assistant", ("no",))))

TOO_MUCH = {
    "loops": (ENDLESS, "takes more than"),
    "filtered loops": ("{% for a in range(99999) if false %}{% endfor %}" * 99, None),
    "macros": (
        "{% macro m(n) %}{% if n %}{{ m(n - 1) ~ m(n - 1) }}{% endif %}{% endmacro %}{{ m(99) }}",
        "takes more than",
    ),
    "output": ("{% for a in range(9999) %}{{ 'x' * 99999 }}{% endfor %}", "writes more than"),
    "a product": ("{{ 'x' * 10 ** 10 }}", "more than 33,554,432"),
    "a product of lists": ("{{ [1, 2] * 10 ** 10 }}", "more than 33,554,432"),
    "a power": ("{{ 10 ** (10 ** 9) }}", "a power of 1000000000"),
    "powers": ("{{ 10 ** 10 ** 9 }}", "beyond 2"),
    "sums": (
        "{% set n = namespace(x='ab') %}" + ROUNDS + "{% set n.x = n.x + n.x %}{% endfor %}",
        "more than 33,554,432",
    ),
    "joins": (
        "{% set n = namespace(x='ab') %}" + ROUNDS + "{% set n.x = n.x ~ n.x %}{% endfor %}",
        "more than 33,554,432",
    ),
    "blocks": (
        "{% set n = namespace(x='ab') %}"
        + ROUNDS
        + "{% set y %}{{ n.x }}{{ n.x }}{% endset %}{% set n.x = y %}{% endfor %}",
        "more than 33,554,432",
    ),
    "a width": ("{{ 'x'.ljust(10 ** 9) }}", "calls a function with 1000000000"),
}


@pytest.mark.parametrize("name", TOO_MUCH)
def test_a_rendering_is_bounded(name, monkeypatch):
    source, fault = TOO_MUCH[name]
    monkeypatch.setattr(sandbox, "CPU_SECONDS", 0.3)
    begun = time.thread_time()
    template = sandbox.compiled(source)
    if fault is None:
        sandbox.render(template, {})
    else:
        with pytest.raises(sandbox.Exceeded, match=fault):
            sandbox.render(template, {})
    assert time.thread_time() - begun < 2


def test_a_template_renders_as_often_as_it_likes_in_its_time(monkeypatch):
    """The clock is of one rendering, not of all."""
    monkeypatch.setattr(sandbox, "CPU_SECONDS", 0.2)
    template = sandbox.compiled("{% for a in range(20000) %}{% endfor %}ok")
    begun = time.thread_time()
    while time.thread_time() - begun < 0.5:
        assert sandbox.render(template, {}) == "ok"


def test_what_a_block_sets_is_not_seen_outside():
    text = "{% generation %}{% set a = 1 %}{{ a }}{% endgeneration %}{{ a is defined }}"
    begin, end = sandbox.GENERATION
    assert sandbox.render(sandbox.compiled(text), {}) == f"{begin}1{end}False"


def load(tmp_path, template):
    directory = tiny_qwen.write_checkpoint(tmp_path / "checkpoint", template)
    return ChatTokenizer.load(directory, tiny_qwen.MEDIA_TOKENS)


@pytest.mark.parametrize(
    ("template", "fault"),
    [
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
        ("{% include 'secrets' %}", "no loader"),
        ("{% if %}", "TemplateSyntaxError"),
        ("{{ ''.__class__.__mro__ }}", "SecurityError"),
        ("{{ messages.clear() }}", "SecurityError"),
        ("{{ open('/etc/passwd') }}", "'open' is undefined"),
        ("{{ 'x' * 10 ** 10 }}", "more than 33,554,432"),
        ("{{ '%9999999999d' % 1 }}", "MemoryError"),  # nothing in our process would stop it
        ("{{ 1 | round(10 ** 9, 'ceil') }}", "takes more than . s of processor time"),  # nor this
        ("{% if 1 %}" * 3000 + "{% endif %}" * 3000, "RecursionError"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "RecursionError"),
    ],
)
def test_a_template_is_tried_before_it_is_used(template, fault, tmp_path):
    with pytest.raises(ChatError, match=f"tokenizer_config.json: the chat template .*{fault}"):
        load(tmp_path, template)


def test_what_only_some_conversations_bring_about_costs_those(tmp_path, monkeypatch):
    trap = "{% if messages[0].content[0].text == 'boom' %}TRAP{% endif %}" + tiny_qwen.TEMPLATE
    other = Example("ex", "toy", (Turn("user", ("Hi",)), *CONVERSATION.turns[1:]))
    monkeypatch.setattr(sandbox, "CPU_SECONDS", 0.3)
    for number, (inside, fault) in enumerate(
        [
            (ENDLESS, "takes more than"),
            ("{{ 1 / 0 }}", "ZeroDivisionError"),
            ("{{ nothing.at.all }}", "'nothing' is undefined"),
            ("{{ 'x' * 10 ** 9 }}", "more than 33"),
        ]
    ):
        chat = load(tmp_path / str(number), trap.replace("TRAP", inside))
        assert len(chat.encode(other).ids)
        for encode in (chat.encode, chat.encode_prompt):
            with pytest.raises(ChatError, match=rf"'ex'.*tokenizer_config.json .*{fault}"):
                encode(CONVERSATION)
