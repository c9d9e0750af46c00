"""A byte-level BPE tokenizer with SmolVLM2's control tokens and chat format, trained in a test."""

import json
from pathlib import Path

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, processors, trainers

CONTROL = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<fake_token_around_image>",
    "<image>",
    "<end_of_utterance>",
    "<global-img>",
    *(f"<row_{r}_col_{c}>" for r in range(1, 7) for c in range(1, 7)),
]
MEDIA_TOKENS = {"image": "<image>", "video": "<image>"}

# The format of the released checkpoints, written out from its description. It knows no clips.
TEMPLATE = """\
<|im_start|>{% for message in messages %}
{{- message['role'] | capitalize }}:
{%- if message['content'][0]['type'] != 'image' %}{{ ' ' }}{% endif %}
{%- for part in message['content'] %}
{%- if part['type'] == 'image' %}<image>
{%- elif part['type'] == 'text' %}{{ part['text'] }}
{%- endif %}
{%- endfor %}<end_of_utterance>{{ '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}Assistant:{% endif %}"""

_CORPUS = [
    "User: What is it? Assistant: It is a ball, and the cat catches it. ",
    "How many times does it bounce? Three times before it rolls away. 0123456789\n\n",
    "You are provided the following series of four frames from a 0:00:02 [H:MM:SS] video.\n",
    "\nFrame from 00:01:\nFrame from 00:02:",
]


def write_checkpoint(directory: Path) -> Path:
    """Writes tokenizer.json, tokenizer_config.json and the template as a release has them."""
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        show_progress=False,
        special_tokens=CONTROL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(_CORPUS, trainer)
    tokenizer.save(str(directory / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|im_start|>",
        "eos_token": "<end_of_utterance>",
        "pad_token": "<|im_end|>",
        "image_token": "<image>",
        "fake_image_token": "<fake_token_around_image>",
        "global_image_token": "<global-img>",
        "end_of_utterance_token": "<end_of_utterance>",
        "chat_template": TEMPLATE,
    }
    (directory / "tokenizer_config.json").write_text(json.dumps(config))
    return directory
