"""What is made of an example on its way into the index."""

import dataclasses

import pytest

from input_pipeline.examples import Example, Turn
from input_pipeline.index import lay_out
from input_pipeline.layout import LayoutError


def test_reasoning_is_refused_by_a_template_without_it_or_dropped(corpus):
    _, spec = corpus
    turns = Turn("user", ("1 + 1?",)), Turn("assistant", ("Two.",), "One and one.")
    example = Example("e", "toy", turns)
    with pytest.raises(LayoutError, match="leaves out the reasoning.*config.data.reasoning"):
        lay_out([example], spec, mode="train")
    dropped = lay_out([example], dataclasses.replace(spec, reasoning="drop"), mode="train")
    assert dropped[0][0].turns == (turns[0], Turn("assistant", ("Two.",)))
