"""Texts that no question is asked about: how likely a model finds them, its perplexity.

In: a file of texts and a model. Out: a `Prediction` a text and numbers over all of them, which are
kept and compared like answers.

texts.py    the file's texts
measure.py  their likelihood, and what it is a byte and a token
"""

from evaluation.held_texts.measure import evaluate_texts, measured, perplexities
from evaluation.held_texts.texts import Text, read_texts

__all__ = ["Text", "evaluate_texts", "measured", "perplexities", "read_texts"]
