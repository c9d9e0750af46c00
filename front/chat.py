"""A conversation in the terminal, or of lines that are piped in."""

import sys
from collections.abc import Iterator
from typing import Protocol

from input_pipeline.errors import UserError


class Partner(Protocol):
    """Who answers. why: a reason for how much is seen of a video, known with the first answer."""

    why: str

    def ask(self, question: str) -> str:
        """The answer. Raises UserError for a question that cannot be asked."""
        ...


def talk(partner: Partner) -> None:
    """Prints an answer to each line of stdin, until one is empty or there are no more.

    A later question that cannot be asked is named and left out. Raises UserError for the first.
    """
    begun = False
    for question in _questions():
        try:
            print(partner.ask(question), flush=True)
        except UserError as error:
            if not begun:
                raise
            print(f"error: {error}", file=sys.stderr)
        if not begun and partner.why:
            print(f"({partner.why})", file=sys.stderr)
        begun = True


def _questions() -> Iterator[str]:
    """Lines as they are typed; those of a pipe are printed as if they were."""
    typed = sys.stdin.isatty()
    if typed:
        import readline  # noqa: F401  (gives input() a history and its keys)

        print("a question a line; an empty one or Ctrl-D ends", file=sys.stderr)
    while True:
        try:
            line = input("> ").strip()
        except EOFError:
            print()
            return
        if not typed:
            print(line)
        if not line:
            return
        yield line
