"""Answers that are one of a few words, by the token that each begins with."""

from collections.abc import Iterable

from input_pipeline.examples import Example, Turn
from input_pipeline.text import ChatTokenizer
from vsft_jax.errors import ConfigError


def option_tokens(words: Iterable[str], chat: ChatTokenizer) -> dict[str, int]:
    """The token that each word is as an answer, as the model would be trained to say it.

    Raises ConfigError naming a word that is no token of its own there.
    """
    found: dict[str, int] = {}
    for word in sorted(set(words)):
        said = Example(word, "options", (Turn("user", ("?",)), Turn("assistant", (word,))))
        text = chat.encode(said)
        ids = text.ids[text.loss_mask].tolist()
        if not ids or chat.decode(ids[:1]).strip() != word:
            raise ConfigError(
                f"config.eval.choices = 'likeliest': the answer {word!r} does not begin with a "
                "token of its own; let answers be 'written'"
            )
        found[word] = ids[0]
    return found
