"""A trained model's answers.

In: a `Run` and prepared prompts. Out: the model (`load_model`) and what it says (`answer`).
"""

from vsft_jax.inference.answer import Answer, answer, generation_settings
from vsft_jax.inference.generate import Decoding, generate
from vsft_jax.inference.model import LoadedModel, load_model
from vsft_jax.inference.token_sampling import Sampling

__all__ = [
    "Answer",
    "Decoding",
    "LoadedModel",
    "Sampling",
    "answer",
    "generate",
    "generation_settings",
    "load_model",
]
