"""A trained model's answers.

In: a `Run` and prepared prompts. Out: the model (`load_model`) and what it says (`answer`) or how
likely it finds a text (`log_likelihoods`).
"""

from vsft_jax.inference.answer import (
    Answer,
    Piece,
    answer,
    answer_stepwise,
    generation_settings,
)
from vsft_jax.inference.decoding import Decoding
from vsft_jax.inference.generate import for_decoding, generate
from vsft_jax.inference.likelihood import log_likelihoods
from vsft_jax.inference.model import LoadedModel, load_model
from vsft_jax.inference.options import option_tokens
from vsft_jax.inference.token_sampling import Sampling

__all__ = [
    "Answer",
    "Decoding",
    "LoadedModel",
    "Piece",
    "Sampling",
    "answer",
    "answer_stepwise",
    "for_decoding",
    "generate",
    "generation_settings",
    "load_model",
    "log_likelihoods",
    "option_tokens",
]
