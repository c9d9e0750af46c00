"""A conversation of lines that are piped in."""

import io

import pytest

from front.chat import talk
from input_pipeline.errors import UserError


class Echo:
    """Says a question back, but not what has a bracket in it."""

    def __init__(self):
        self.why = ""
        self.asked = []

    def ask(self, question):
        if "<" in question:
            raise UserError("no brackets")
        self.why = "8: fixed"
        self.asked.append(question)
        return f"{question} indeed"


@pytest.mark.parametrize("end", ["\n", "  \nunheard\n", ""])
def test_lines_are_questions_until_one_is_empty(end, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO(f"One\n Two <b>\nThree\n{end}"))
    partner = Echo()
    talk(partner)
    said = capsys.readouterr()
    assert partner.asked == ["One", "Three"]
    assert said.out == "> One\nOne indeed\n> Two <b>\n> Three\nThree indeed\n> \n"
    assert said.err == "(8: fixed)\nerror: no brackets\n"


def test_a_first_question_that_cannot_be_asked_ends_it(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("<b>\nTwo\n"))
    with pytest.raises(UserError, match="no brackets"):
        talk(Echo())
