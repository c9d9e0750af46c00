"""What a chat template writes around texts that it only puts down, whatever they are.

A template is rendered with `unread` objects in place of the texts. They can be written and be
joined to other texts, and nothing else: whatever would tell one text from another raises `Looked`.
A template that gets through has looked at no text, so it writes the same around any, and needs to
be rendered once for all conversations of one shape:

    <|im_start|>user\\n«0»<|im_end|>\\n<|im_start|>assistant\\n«1»<|im_end|>\\n

One that does not is rendered for each conversation, as if this module were not there.
"""

import re
from collections.abc import Iterator
from typing import Any, NoReturn

import jinja2
import jinja2.nodes
import jinja2.tests

from input_pipeline.text import sandbox

_MARK = "\ufdd7"  # a noncharacter, which no text holds
_NUMBERED = re.compile(f"{_MARK}(\\d+){_MARK}")


class Looked(Exception):
    """A template asks what a text is."""


class Unread:
    """A text that nobody may look at, or several and what was written between.

    Of itself it has a class and nothing else, so that no template mistakes it for other values.
    """

    __slots__ = ("_shown",)

    def __init__(self, shown: str):
        object.__setattr__(self, "_shown", shown)

    def __add__(self, other: Any) -> "Unread":
        return Unread(_shown(self) + _shown(other)) if _is_text(other) else _refuse()

    def __radd__(self, other: Any) -> "Unread":
        return Unread(_shown(other) + _shown(self)) if _is_text(other) else _refuse()

    def __getattribute__(self, name: str) -> Any:
        return Unread if name == "__class__" else _refuse()


def unread(number: int) -> Unread:
    """The text with this number, from 0."""
    return Unread(f"{_MARK}{number}{_MARK}")


def _refuse(*_: Any) -> NoReturn:
    raise Looked("looks at a text")


# Python looks these up in the class. What it answers for any object by itself must be refused;
# where it has no answer the rendering ends as well, with a TypeError.
for _name in (
    *("str", "repr", "format", "bool", "len", "iter", "getitem", "contains", "hash"),
    *("eq", "ne", "lt", "le", "gt", "ge", "mul", "rmul", "mod", "rmod"),
    *("int", "float", "index", "call"),
):
    setattr(Unread, f"__{_name}__", _refuse)


def _is_text(value: Any) -> bool:
    return isinstance(value, str | Unread)


def _shown(value: Any) -> Any:
    return object.__getattribute__(value, "_shown") if isinstance(value, Unread) else value


class _Environment(sandbox.Environment):
    """The one of `sandbox`, in which unread texts can be written, and stay unread where what was
    written is a value again: of a macro, or a {% set %} block."""

    def _parse(self, source: str, name: str | None, filename: str | None) -> jinja2.nodes.Template:
        tree = super()._parse(source, name, filename)
        # A filter of a whole block would get a text with the unread ones in it.
        blocks = [*tree.find_all(jinja2.nodes.FilterBlock), *_filtered_assignments(tree)]
        closed = {id(output) for block in blocks for output in _outputs(block)}
        for output in _outputs(tree):
            if id(output) not in closed:
                output.nodes = [_written(node) for node in output.nodes]
        return tree

    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        return _covered(super().call(__context, __obj, *args, **kwargs))


def _filtered_assignments(tree: jinja2.nodes.Template) -> Iterator[jinja2.nodes.AssignBlock]:
    for block in tree.find_all(jinja2.nodes.AssignBlock):
        if block.filter and block.filter.node:  # one before that of `sandbox`
            yield block


def _outputs(node: jinja2.nodes.Node) -> Iterator[jinja2.nodes.Output]:
    return node.find_all(jinja2.nodes.Output)


def _written(node: jinja2.nodes.Expr) -> jinja2.nodes.Expr:
    if isinstance(node, jinja2.nodes.TemplateData):
        return node
    return jinja2.nodes.Filter(node, "written", [], [], None, None, lineno=node.lineno)


def _covered(value: Any) -> Any:
    """A text with unread ones in it is itself unread."""
    unread_inside = isinstance(value, str) and _MARK in value
    return Unread(value) if unread_inside else sandbox.bounded(value)


def _is_sequence(value: Any) -> bool:
    # Jinja's own takes any error of len() for "no".
    return _refuse() if isinstance(value, Unread) else jinja2.tests.test_sequence(value)


_ENVIRONMENT = sandbox.environment(_Environment)
_ENVIRONMENT.filters |= {"written": _shown, "bounded": _covered}
_ENVIRONMENT.tests |= {"string": _is_text, "sequence": _is_sequence}


def compiled(source: str) -> jinja2.Template:
    """A template to give to `around`."""
    return _ENVIRONMENT.from_string(source)


def around(
    template: jinja2.Template, variables: dict[str, Any], texts: int
) -> tuple[str, ...] | None:
    """What the template writes before, between and behind the texts, in the order of their numbers:
    one piece more than there are texts.

    variables: with so many `unread` texts in them. None where it looks at one, leaves one out,
    writes one twice or in another order, or fails.
    """
    try:
        pieces = _NUMBERED.split(sandbox.render(template, variables))
    except Exception:  # a template may do anything
        return None
    in_order = pieces[1::2] == [str(number) for number in range(texts)]
    return tuple(pieces[0::2]) if in_order else None
