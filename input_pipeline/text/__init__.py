"""Conversations in, token ids and a loss mask out, as the checkpoint's own files say.

Media stand in the ids as placeholder tokens; how many each becomes is for `layout` to say.
"""

from input_pipeline.text.chat_template import ChatError, Replacement
from input_pipeline.text.chat_tokenizer import (
    TEXT_FILES,
    TOKENIZER_FILES,
    ChatTokenizer,
    EncodedText,
)

__all__ = [
    "TEXT_FILES",
    "TOKENIZER_FILES",
    "ChatError",
    "ChatTokenizer",
    "EncodedText",
    "Replacement",
]
