"""How densely in time an instruction needs to see: rules over its text, no model."""

import dataclasses
import re
import unicodedata

from input_pipeline.frame_budget.budget import BudgetQuery, measured
from input_pipeline.frame_budget.instruction_rules import (
    BOILERPLATE,
    BOILERPLATE_SENTENCE,
    DEMANDS,
    FORM_ONLY,
    RULES,
    Rule,
)

DEFAULT_DEMAND = "low-medium"  # an unknown question is neither free nor dear
OPTIONS_AT_MOST = "medium"

_STRONGEST_FIRST = sorted(RULES, key=lambda rule: -DEMANDS.index(rule.demand))
_SENTENCE_END = re.compile(r"(?<=[.?!\n])")  # splits after the mark

# "a." "a)" "(a)" "a:" at the start of a line or after a blank
_OPTION_MARK = re.compile(r"(?:^|(?<=\s))\(?([a-h])[).:、](?=\s|\S)")


@dataclasses.dataclass(frozen=True)
class Demand:
    """demand: one of DEMANDS; why: the phrase of the rule that decided."""

    demand: str
    why: str

    @property
    def level(self) -> float:
        """0 (low) to 1 (high), equal steps."""
        return DEMANDS.index(self.demand) / (len(DEMANDS) - 1)


def demand_of(query: BudgetQuery) -> Demand:
    """`instruction_demand` of a query's instruction, found once for its words."""

    def measure() -> list[str]:
        return list(dataclasses.astuple(instruction_demand(query.instruction)))

    return Demand(*measured(query.of_words, "demand", measure))


def instruction_demand(instruction: str) -> Demand:
    """The demand of all the user's turns together: that of the most demanding rule that matches.

    Answer options are set apart first. A verb inside an option ("B. he runs after the ball") says
    nothing about the question when the question itself is clear ("What colour is the ball?"), so
    options are read only when the rest of the text matches no rule ("Which is a better match for
    the video?") or just has the form of a question about a state ("Is the cup full?"), and then
    count for at most `OPTIONS_AT_MOST`. With no match at all: `DEFAULT_DEMAND`.
    """
    text = unicodedata.normalize("NFKC", instruction).lower().replace("’", "'")
    for pattern in BOILERPLATE:
        text = pattern.sub(" ", text)
    sentences = _SENTENCE_END.split(text)
    text = "".join(s if not BOILERPLATE_SENTENCE.search(s) else " " for s in sentences)
    question, options = split_options(text)
    rule = _strongest(question)
    if rule is None or rule.name == FORM_ONLY:
        option = _strongest(options)
        if option is not None and (rule is None or option.demand != "low"):
            demand = min(option.demand, OPTIONS_AT_MOST, key=DEMANDS.index)
            return Demand(demand, f"options: {option.why}")
    if rule is None:
        return Demand(DEFAULT_DEMAND, "no particular demand")
    return Demand(rule.demand, rule.why)


def split_options(text: str) -> tuple[str, str]:
    """(question, options) of lower-cased text.

    Options are runs of marks a, b, c, … (at least a and b), each on its own line or in one line,
    up to the end of the line that holds the last of the run. Several runs (several turns) are all
    found. Text between and after runs belongs to the question.
    """
    marks = [(m.start(), m.group(1)) for m in _OPTION_MARK.finditer(text)]
    question, options, done, i = [], [], 0, 0
    while i < len(marks):
        run = i
        while run + 1 < len(marks) and ord(marks[run + 1][1]) == ord(marks[run][1]) + 1:
            run += 1
        if marks[i][1] == "a" and run > i and marks[i][0] >= done:
            end = text.find("\n", marks[run][0])
            end = len(text) if end < 0 else end
            question.append(text[done : marks[i][0]])
            options.append(text[marks[i][0] : end])
            done = end
        i = run + 1
    question.append(text[done:])
    return "\n".join(question), "\n".join(options)


def _strongest(text: str) -> Rule | None:
    """The first of the most demanding rules that match."""
    return next((rule for rule in _STRONGEST_FIRST if rule.pattern.search(text)), None)
