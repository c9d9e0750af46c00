"""A tiny Qwen2.5-VL directory as transformers writes it, with a tokenizer that fits."""

import json
from pathlib import Path

import torch
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from tests.input_pipeline.tiny_qwen import build_tokenizer, write_checkpoint
from tests.parity.reference import HF_CONFIG, randomise

VOCABULARY = 320


def hf_config(tied: bool = False, released_ids: bool = False) -> Qwen2_5_VLConfig:
    """transformers' config; its special tokens are those of `write_checkpoint`, or with
    `released_ids` those of the released models, in a vocabulary of their size."""
    tokenizer = build_tokenizer()
    tokens = {
        "image_token_id": "<|image_pad|>",
        "video_token_id": "<|video_pad|>",
        "vision_start_token_id": "<|vision_start|>",
        "vision_end_token_id": "<|vision_end|>",
    }
    ids = {key: tokenizer.token_to_id(token) for key, token in tokens.items()}
    if released_ids:
        ids = dict(zip(tokens, (151655, 151656, 151652, 151653), strict=True))
    text = {**HF_CONFIG["text_config"], "vocab_size": 151936 if released_ids else VOCABULARY}
    numbers = {**HF_CONFIG, **ids, "text_config": text, "tie_word_embeddings": tied}
    return Qwen2_5_VLConfig(**numbers, attn_implementation="eager")


def write_model(
    directory: Path,
    *,
    dtype=torch.float32,
    max_shard_size: str = "5GB",
    tied: bool = False,
    released_ids: bool = False,
) -> Qwen2_5_VLForConditionalGeneration:
    """Saves a random model with tokenizer and chat template; returns it."""
    torch.manual_seed(0)
    model = Qwen2_5_VLForConditionalGeneration(hf_config(tied, released_ids)).eval()
    model = randomise(model).to(dtype)
    model.save_pretrained(directory, max_shard_size=max_shard_size)
    write_checkpoint(directory)
    return model


def edit_json(path: Path, **changes) -> None:
    """Sets keys of a JSON file."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
