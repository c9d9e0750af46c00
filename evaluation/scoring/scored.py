"""What became of one answer."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Scored:
    """score: 0..1. parsed: the prediction could be read as an answer of the asked format."""

    score: float
    parsed: bool


UNPARSED = Scored(0.0, False)
