"""What is joined of known parts is what the template renders; a template that looks is rendered."""

import pytest

from input_pipeline.examples import Example, Turn
from input_pipeline.text import ChatTokenizer, blind
from tests.input_pipeline.text.released_templates import RELEASED
from tests.input_pipeline.text.test_released_templates import CASES, DISTINCT, THINKING

MESSAGES = [
    {"role": "user", "content": blind.unread(0)},
    {"role": "assistant", "content": blind.unread(1)},
]
PUTS_DOWN = {
    "itself": "{{ m.content }}",
    "joined": "{{ '\\n' + m.content + '\\n' }}",
    "a string": "{% if m.content is string %}{{ m.content }}{% endif %}",
    "a name": "{% set x = m.content %}{{ x }}",
    "a block": "{% set x %}{{ m.content }}{% endset %}{{ x }}",
    "a macro": "{% macro f(x) %}{{ x }}{% endmacro %}{{ f(m.content) }}",
}
LOOKS = {
    "if": "{% if m.content %}{% endif %}{{ m.content }}",
    "not": "{{ m.content }}{{ '' if not m.content }}",
    "in": "{% if '<think>' in m.content %}{% endif %}{{ m.content }}",
    "in a text": "{% if m.content in 'abc' %}{% endif %}{{ m.content }}",
    "in a list": "{% if m.content in ['abc'] %}{% endif %}{{ m.content }}",
    "equal": "{% if m.content == 'yes' %}{% endif %}{{ m.content }}",
    "unequal": "{% if 'yes' != m.content %}{% endif %}{{ m.content }}",
    "less": "{% if m.content < 'yes' %}{% endif %}{{ m.content }}",
    "length": "{{ m.content }}{{ m.content | length }}",
    "int": "{{ m.content }}{{ m.content | int }}",
    "trim": "{{ m.content | trim }}",
    "a method": "{{ m.content.strip() }}",
    "a name of its own": "{{ m.content }}{{ m.content._shown }}",
    "a slice": "{{ m.content[:3] }}",
    "an item": "{{ m.content }}{{ m.content['text'] }}",
    "items": "{% for c in m.content %}{{ c }}{% endfor %}",
    "iterable": "{% if m.content is iterable %}{{ m.content }}{% endif %}",
    "sequence": "{% if m.content is sequence %}{{ m.content }}{% endif %}",
    "a key": "{{ {'a': 1}.get(m.content, '') }}{{ m.content }}",
    "json": "{{ m | tojson }}",
    "a list": "{{ [m.content] }}",
    "format": "{{ 'x%s' % m.content }}",
    "a method's argument": "{{ ' '.join([m.content]) }}",
    "what a block holds": "{% set x %}{{ m.content }}{% endset %}{{ x if x else '' }}",
    "what a macro writes": "{% macro f(x) %}{{ x }}{% endmacro %}{{ f(m.content) | upper }}",
    "a filtered block": "{% filter upper %}{{ m.content }}{% endfilter %}",
    "a filtered name": "{% set x | upper %}{{ m.content }}{% endset %}{{ x }}",
    "what is joined": "{% set x = 'a' + m.content %}{{ x.lower() }}",
    "a change": "{% if loop.changed(m.content) %}{{ m.content }}{% endif %}",
    # It looks at nothing, but what is where cannot be told.
    "twice": "{{ m.content }}{{ m.content }}",
    "never": "",
    "the other order": "{{ messages[1 - loop.index0].content }}",
    "an error": "{{ m.content }}{{ 1 / 0 }}",
}


def _compiled(said):
    """A template that says this of each message."""
    return blind.compiled("{% for m in messages %}<{{ m.role }}>" + said + "{% endfor %}")


def _around(said):
    return blind.around(_compiled(said), {"messages": MESSAGES}, len(MESSAGES))


@pytest.mark.parametrize("how", PUTS_DOWN)
def test_what_stands_around_texts_is_known(how):
    around = _around(PUTS_DOWN[how])
    assert around is not None
    messages = [
        m | {"content": text} for m, text in zip(MESSAGES, ("Yes?", "</think>"), strict=True)
    ]
    first, second, last = around
    assert (
        _compiled(PUTS_DOWN[how]).render(messages=messages) == f"{first}Yes?{second}</think>{last}"
    )


@pytest.mark.parametrize("how", LOOKS)
def test_a_template_that_looks_at_texts_is_no_such_one(how):
    assert _around(LOOKS[how]) is None


@pytest.mark.parametrize("name", DISTINCT)
def test_released_templates_are_joined_to_what_they_render(name, tmp_path):
    released = RELEASED[name]
    chat = ChatTokenizer.load(
        released.write(tmp_path), released.media_tokens, released.clip_template
    )
    spaced = Example("e", "toy", (Turn("user", (" a\n",)), Turn("assistant", ("\n<|im_end|> b ",))))
    for example in (*CASES.values(), spaced):
        template = chat._of(example)
        for asks in (False, True):
            for marked in (False, True):
                joined = template._joined(example.turns, asks, marked)
                looks = name in THINKING or released.gemma  # whose template trims texts
                assert (joined is None) == looks
                assert joined in (None, template._rendered(example, asks, marked))
    reasoned = Turn("assistant", ("b",), reasoning="c")
    assert chat._template._joined((Turn("user", ("a",)), reasoned), False, False) is None
