"""A SentencePiece-like tokenizer with Llama's stages and LLaVA's chat format, trained in a test."""

import json
from pathlib import Path

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

MEDIA_TOKENS = {"image": "<image>", "video": "<video>"}

# The format of LLaVA's checkpoints on Hugging Face, written out from its description: media first,
# roles in capitals, and nothing that ends an answer.
TEMPLATE = """\
{% for message in messages %}
{% if message['role'] != 'system' %}
{{ message['role'].upper() + ': ' -}}
{% endif %}
{% for part in message['content'] %}
{% if part['type'] == 'image' %}
{{ '<image>\\n' -}}
{% endif %}
{% endfor %}
{% for part in message['content'] %}
{% if part['type'] == 'video' %}
{{ '<video>\\n' -}}
{% endif %}
{% endfor %}
{% for part in message['content'] %}
{% if part['type'] == 'text' %}
{{ part['text'] + ' ' -}}
{% endif %}
{% endfor %}
{% endfor %}
{% if add_generation_prompt %}
{{ 'ASSISTANT:' -}}
{% endif %}
"""

_CORPUS = [
    "USER: What is it? ASSISTANT: It is a ball, and the cat catches it. ",
    "How many times does it bounce? Three times before it rolls away. 0123456789",
]


def write_checkpoint(directory: Path, media_tokens: dict[str, str] = MEDIA_TOKENS) -> Path:
    """Writes tokenizer.json and tokenizer_config.json; every text begins with <s>."""
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    # No piece spans two words, as in Llama's vocabulary.
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", behavior="merged_with_next")
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    special = ["<unk>", "<s>", "</s>", *dict.fromkeys(media_tokens.values())]
    tokenizer.train_from_iterator(
        _CORPUS,
        trainers.BpeTrainer(
            vocab_size=420,
            show_progress=False,
            special_tokens=special + [f"<0x{byte:02X}>" for byte in range(256)],
        ),
    )
    trained = json.loads(tokenizer.to_str())
    # Byte pieces are ordinary entries of the vocabulary, not control tokens.
    trained["added_tokens"] = [t for t in trained["added_tokens"] if t["content"] in special]
    tokenizer = tokenizers.Tokenizer.from_str(json.dumps(trained))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    tokenizer.save(str(directory / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "chat_template": TEMPLATE,
    }
    (directory / "tokenizer_config.json").write_text(json.dumps(config))
    return directory
