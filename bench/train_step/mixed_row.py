"""The work of both sides: a model, and examples of every kind that fill a row to 98 %."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from tests.parity.reference import Media, Text, example_tokens, random_media, random_text
from vsft_jax.models.qwen2_5_vl.config import ModelConfig


@dataclasses.dataclass(frozen=True)
class Shape:
    """A model's numbers as transformers' config has them, and how it is computed with."""

    name: str
    hf: dict[str, Any]
    dtype: str
    remat: str


_SPECIAL = {
    "model_type": "qwen2_5_vl",
    "image_token_id": 150,
    "video_token_id": 151,
    "vision_start_token_id": 152,
    "vision_end_token_id": 153,
    "tie_word_embeddings": True,
}


def _rope(sections: list[int]) -> dict[str, Any]:
    return {"rope_type": "default", "rope_theta": 1e6, "mrope_section": sections}


SHAPES = {
    "small": Shape(
        "22 million parameters",
        {
            **_SPECIAL,
            "text_config": {
                "vocab_size": 6144,
                "hidden_size": 512,
                "intermediate_size": 1376,
                "num_hidden_layers": 4,
                "num_attention_heads": 8,
                "num_key_value_heads": 2,
                "rope_parameters": _rope([8, 12, 12]),
            },
            "vision_config": {
                "depth": 8,
                "hidden_size": 256,
                "intermediate_size": 688,
                "num_heads": 8,
                "out_hidden_size": 512,
                "fullatt_block_indexes": [3, 7],
            },
        },
        dtype="float32",
        remat="mlp",
    ),
    # Qwen2.5-VL-3B's own numbers, for a GPU.
    "3b": Shape(
        "Qwen2.5-VL-3B",
        {
            **_SPECIAL,
            "text_config": {
                "vocab_size": 151936,
                "hidden_size": 2048,
                "intermediate_size": 11008,
                "num_hidden_layers": 36,
                "num_attention_heads": 16,
                "num_key_value_heads": 2,
                "rope_parameters": _rope([16, 24, 24]),
            },
            "vision_config": {
                "depth": 32,
                "hidden_size": 1280,
                "intermediate_size": 3420,
                "num_heads": 16,
                "out_hidden_size": 2048,
                "fullatt_block_indexes": [7, 15, 23, 31],
            },
        },
        dtype="bfloat16",
        remat="full",
    ),
}

# Tokens of the question, media with their grids in patches, tokens of the answer. A temporal grid
# holds two frames: clips of 16, 8, 4 and 2 frames.
_KINDS: tuple[tuple[int, tuple[tuple[str, tuple[int, int, int]], ...], int], ...] = (
    (24, (("video", (8, 8, 10)),), 24),
    (20, (("image", (1, 16, 18)),), 40),
    (60, (), 50),
    (18, (("video", (4, 12, 12)),), 12),
    (12, (("image", (1, 14, 14)),), 8),
    (30, (("video", (2, 12, 16)),), 30),
    (20, (), 30),
    (16, (("video", (1, 16, 16)),), 23),
)
TOKENS, PATCHES = 1024, 2368  # of a row that holds one of each


Example = Sequence[Text | Media]


def examples(rows: int) -> list[Example]:
    """The kinds of examples, `rows` times over, each with pixels and text of its own."""
    rng = np.random.default_rng(0)
    return [
        [
            random_text(rng, question),
            *(random_media(rng, kind, grid, 1.0) for kind, grid in media),
            random_text(rng, answer),
        ]
        for _ in range(rows)
        for question, media, answer in _KINDS
    ]


def tokens(config: ModelConfig, example: Example) -> int:
    """Tokens of an example, visual ones included."""
    return len(example_tokens(config, example)[0])


def answer_tokens(example: Example) -> int:
    """Tokens at an example's end that are learnt."""
    answer = example[-1]
    assert isinstance(answer, Text)
    return len(answer.ids)
