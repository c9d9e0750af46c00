"""Chat templates are programs of strangers: they are rendered within bounds, as Hugging Face
renders them, and tried in a process of their own before that.

Run as a script this is that process: it reads {"source": …, "renders": [variables, …]} and writes
{"fault": …}, or the kernel ends it. It imports nothing of this package, so that it starts quickly.
"""

import datetime
import json
import resource
import sys
import threading
import time
from typing import Any, cast

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.parser
import jinja2.sandbox

# Around what a {% generation %} block renders: Unicode noncharacters, which no text holds.
GENERATION = ("\ufdd4", "\ufdd5")

CPU_SECONDS = 2  # of one rendering
LARGEST = 2**25  # characters of a text, items of a list; a record has at most 2^24 bytes
_LARGEST_NUMBER = 2**63
MEMORY_BYTES = 2**30  # of the trial
_LARGEST_ARGUMENT = 2**20  # that a function is given, such as a width
# A template that puts today's date in would give other ids tomorrow.
_TODAY = datetime.datetime(2025, 1, 1)


class Exceeded(Exception):
    """A template that takes more than its bounds allow; the message says of what."""


def compiled(source: str) -> jinja2.Template:
    """The template of a Jinja source. Raises jinja2.TemplateSyntaxError, among others."""
    return _ENVIRONMENT.from_string(source)


def render(template: jinja2.Template, variables: dict[str, Any]) -> str:
    """The template's text, `GENERATION` around what its {% generation %} blocks render.

    Raises Exceeded, and whatever the template does: 1/0, a missing name, an include.
    """
    _clock.end = time.thread_time() + CPU_SECONDS
    pieces, size = [], 0
    for piece in template.generate(variables):
        size += len(piece)
        if size > LARGEST:
            raise Exceeded(f"writes more than {LARGEST:,} characters")
        pieces.append(piece)
    return "".join(pieces)


# --- The environment ----------------------------------------------------------------------------


class _Clock(threading.local):
    """When the rendering of this thread must have ended, in seconds of its processor time."""

    end = 0.0


_clock = _Clock()


@jinja2.pass_context  # so that Jinja cannot take its result for a constant
def _check_clock(context: Any, value: Any) -> Any:
    if time.thread_time() > _clock.end:
        raise Exceeded(f"takes more than {CPU_SECONDS} s")
    return value


class Environment(jinja2.sandbox.ImmutableSandboxedEnvironment):
    """Jinja's sandbox, in which every loop and macro looks at the clock and no value grows large.

    The sandbox alone keeps a template from files and other code, and `range` below 100,000.
    """

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def _parse(self, source: str, name: str | None, filename: str | None) -> jinja2.nodes.Template:
        tree = super()._parse(source, name, filename)
        repeated = (jinja2.nodes.For, jinja2.nodes.Macro, jinja2.nodes.CallBlock)
        for node in tree.find_all(repeated):
            cast(Any, node).body.insert(0, _clock_check(node.lineno))
        for block in tree.find_all(jinja2.nodes.AssignBlock):
            block.filter = _filter(block.filter, "bounded", block.lineno)
        _bound_joins(tree)
        return tree

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "**" and _is_number(right) and abs(right) > 64:
            raise Exceeded(f"computes a power of {right}")
        if operator == "*":
            for few, many in ((left, right), (right, left)):
                if isinstance(few, int) and isinstance(many, str | list | tuple):
                    _check_size(few * len(many))
        return bounded(super().call_binop(context, operator, left, right))

    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        # The names are Jinja's: a template may pass arguments called self or context.
        for value in (*args, *kwargs.values()):
            if _is_number(value) and abs(value) > _LARGEST_ARGUMENT:
                raise Exceeded(f"calls a function with {value}")
        return bounded(super().call(__context, __obj, *args, **kwargs))


class _GenerationTag(jinja2.ext.Extension):
    """The {% generation %} blocks of Hugging Face templates: their body between `GENERATION`."""

    tags = {"generation"}

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        before, after = (
            jinja2.nodes.Output([jinja2.nodes.TemplateData(mark)], lineno=line)
            for mark in GENERATION
        )
        # A scope, for what is set inside is not seen outside in transformers either.
        return [before, jinja2.nodes.Scope(body, lineno=line), after]


def _clock_check(line: int) -> jinja2.nodes.Stmt:
    nothing = jinja2.nodes.Const(None, lineno=line)
    return jinja2.nodes.ExprStmt(_filter(nothing, "check_clock", line), lineno=line)


def _filter(value: jinja2.nodes.Expr | None, name: str, line: int) -> jinja2.nodes.Filter:
    return jinja2.nodes.Filter(value, name, [], [], None, None, lineno=line)


def _bound_joins(node: jinja2.nodes.Node) -> None:
    """Bounds every a ~ b below a node: it is no operator that the sandbox would ask about."""

    def bound(child: Any) -> Any:
        if isinstance(child, jinja2.nodes.Node):
            _bound_joins(child)
        is_join = isinstance(child, jinja2.nodes.Concat)
        return _filter(child, "bounded", child.lineno) if is_join else child

    for name, value in node.iter_fields():
        setattr(node, name, [bound(v) for v in value] if isinstance(value, list) else bound(value))


def bounded(value: Any) -> Any:
    """The value, if it is of a size that a chat template may need. Raises Exceeded."""
    if isinstance(value, str | list | tuple):
        _check_size(len(value))
    elif _is_number(value) and abs(value) > _LARGEST_NUMBER:
        raise Exceeded("computes a number beyond 2^63")
    return value


def _check_size(size: int) -> None:
    if size > LARGEST:
        raise Exceeded(f"makes a text or list of more than {LARGEST:,}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def _strftime_now(format: str) -> str:
    return _TODAY.strftime(format)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # Jinja's own filter escapes HTML characters, which would change the tokens.
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def environment(kind: type[Environment] = Environment) -> Environment:
    """The environment in which Hugging Face renders chat templates, within bounds."""
    made = kind(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationTag, jinja2.ext.loopcontrols]
    )
    made.filters |= {
        "tojson": _to_json,
        "bounded": bounded,
        "check_clock": _check_clock,
    }
    made.globals |= {
        "raise_exception": _raise_exception,
        "strftime_now": _strftime_now,
    }
    return made


_ENVIRONMENT = environment()


# --- The trial, in a process of its own ---------------------------------------------------------


def _fault(asked: dict[str, Any]) -> str:
    """What goes wrong, "" if nothing does."""
    try:
        template = compiled(asked["source"])
        for variables in asked["renders"]:
            render(template, variables)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    # The kernel ends what does not look at the clock.
    resource.setrlimit(resource.RLIMIT_CPU, (2 * CPU_SECONDS, 2 * CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    json.dump({"fault": _fault(asked)}, sys.stdout)
