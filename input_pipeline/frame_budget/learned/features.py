"""What a predictor is told about an instruction and a clip: hashed words, and a few numbers.

Words are told apart by a hash, not by a tokenizer: a predictor then needs no file but its own, goes
with models of every family, and a word that it never met adds nothing, as its row of the table is
still zero.
"""

import hashlib
import math
import re
import unicodedata
from typing import NamedTuple

from input_pipeline.frame_budget.budget import BudgetQuery
from input_pipeline.frame_budget.instruction import demand_of
from input_pipeline.frame_budget.instruction_rules import DEMANDS
from input_pipeline.frame_budget.novelty import pixel_novelty

VERSION = 1  # raise when anything below changes: predictors fitted before are then refused
BUCKETS = 2048
PREVIEW_FRAMES = 8  # as many as other policies look at, whose measurements are kept
NUMBERS = (
    "log2 seconds",
    "log2 frames",
    "log2 frames per second",
    "novelty",
    "log2 words",
    *(f"demand {demand}" for demand in DEMANDS),
)

# Scripts that put no blanks between words: each character is one.
_ALONE = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_ALONE}]|[^\W_{_ALONE}]+(?:'[^\W_]+)?")
_LEAST = 2.0**-6  # of what a logarithm is taken of


class Features(NamedTuple):
    """grams: buckets of the words and of the pairs of neighbouring words, with repetition. numbers:
    of `NUMBERS`."""

    grams: tuple[int, ...]
    numbers: tuple[float, ...]


def features_of(query: BudgetQuery) -> Features:
    """What the query's instruction and clip are to a predictor.

    It decodes `PREVIEW_FRAMES` previews, unless their novelty was measured before. Raises
    MediaError where they cannot be decoded.
    """
    words = words_of(query.instruction)
    demand = demand_of(query).demand
    media = query.media
    numbers = (
        *map(_log2, (media.duration_s, media.frames, media.fps)),
        pixel_novelty(PREVIEW_FRAMES, query),
        _log2(1 + len(words)),
        *(float(demand == each) for each in DEMANDS),
    )
    return Features(grams_of(words), numbers)


def words_of(text: str) -> list[str]:
    """The words of a text, lower-cased, without punctuation."""
    plain = unicodedata.normalize("NFKC", text).lower().replace("’", "'")
    return _WORD.findall(plain)


def grams_of(words: list[str]) -> tuple[int, ...]:
    """Buckets, 0 … `BUCKETS` - 1, of words and of pairs of neighbours; the same on every machine.

    Two may share a bucket (Weinberger et al. 2009, "Feature hashing").
    """
    pairs = [f"{a} {b}" for a, b in zip(words, words[1:], strict=False)]
    return tuple(map(_bucket, [*words, *pairs]))


def _bucket(gram: str) -> int:
    return int.from_bytes(hashlib.blake2b(gram.encode(), digest_size=8).digest(), "big") % BUCKETS


def _log2(value: float) -> float:
    return math.log2(max(value, _LEAST))
