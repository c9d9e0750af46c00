"""A byte-level BPE tokenizer with Qwen's control tokens and chat template, small enough to train
in a test. Byte-level: any text round-trips."""

import json
from pathlib import Path

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

CONTROL = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
]

MEDIA_TOKENS = {"image": "<|image_pad|>", "video": "<|video_pad|>"}

# Qwen2.5-VL's conversation format, written out from its description.
TEMPLATE = """\
{% for message in messages %}
{% if loop.first and message['role'] != 'system' %}
<|im_start|>system
You are a helpful assistant.<|im_end|>
{% endif %}
<|im_start|>{{ message['role'] }}
{% for part in message['content'] %}
{% if part['type'] == 'image' %}
<|vision_start|><|image_pad|><|vision_end|>{{ '' }}
{%- elif part['type'] == 'video' %}
<|vision_start|><|video_pad|><|vision_end|>{{ '' }}
{%- else %}
{{ part['text'] }}
{%- endif %}
{% endfor %}
<|im_end|>
{% endfor %}
{% if add_generation_prompt %}
<|im_start|>assistant
{% endif %}
"""

_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_CORPUS = [
    "system user assistant You are a helpful assistant. How many times does the ball bounce?",
    "It bounces three times before it rolls away, and then the cat catches it. 0123456789\n\n",
    "a:\n\nb:\n\nc:\n\n\nd" * 20,  # so that newlines merge, as they do in Qwen's vocabulary
]


def build_tokenizer() -> tokenizers.Tokenizer:
    """A `tokenizers.Tokenizer` of about 300 entries with the stages of Qwen's tokenizer.json."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=310,
        show_progress=False,
        special_tokens=CONTROL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(_CORPUS, trainer)
    return tokenizer


def write_checkpoint(directory: Path, template: str = TEMPLATE) -> Path:
    """Writes tokenizer.json, tokenizer_config.json and generation_config.json as a release has."""
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer = build_tokenizer()
    tokenizer.save(str(directory / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "chat_template": template,
    }
    (directory / "tokenizer_config.json").write_text(json.dumps(config))
    stops = [tokenizer.token_to_id("<|im_end|>"), tokenizer.token_to_id("<|endoftext|>")]
    (directory / "generation_config.json").write_text(json.dumps({"eos_token_id": stops}))
    return directory
