"""A SentencePiece-like tokenizer with Gemma 4's control tokens and chat format, trained here."""

import json
from pathlib import Path

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

CONTROL = [
    *("<pad>", "<eos>", "<bos>", "<unk>", "<mask>"),
    *("<|turn>", "<turn|>", "<|channel>", "<channel|>", "<|think|>"),
    *("<|image>", "<image|>", "<|image|>", "<|video|>"),
    *("<|audio>", "<audio|>", "<|audio|>"),
]
MEDIA_TOKENS = {"image": "<|image|>", "video": "<|video|>"}

# The format of the released checkpoints, written out from its description: what users and systems
# say is trimmed, and answers without the thoughts in them.
TEMPLATE = """\
{%- macro shown(content, own) -%}
  {%- set parts = [{'type': 'text', 'text': content}] if content is string else content -%}
  {%- for part in parts -%}
    {%- if part.type == 'text' and own -%}
      {%- set kept = namespace(text='') -%}
      {%- for piece in part.text.split('<channel|>') -%}
        {%- set kept.text = kept.text + piece.split('<|channel>')[0] -%}
      {%- endfor -%}
      {{- kept.text | trim -}}
    {%- elif part.type == 'text' -%}
      {{- part.text | trim -}}
    {%- else -%}
      {{- '<|' + part.type + '|>' -}}
    {%- endif -%}
  {%- endfor -%}
{%- endmacro -%}
{{- bos_token -}}
{%- for message in messages -%}
  {%- set role = 'model' if message.role == 'assistant' else message.role -%}
  {{- '<|turn>' + role + '\\n' + shown(message.content, role == 'model') + '<turn|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|turn>model\\n' -}}{%- endif -%}
"""
LARGE_TEMPLATE = TEMPLATE.replace(
    "'<|turn>model\\n' -}}{%- endif", "'<|turn>model\\n<|channel>thought\\n<channel|>' -}}{%- endif"
)

_CORPUS = [
    "user\nWhat is it? model\nIt is a ball, and the cat catches it. ",
    "How many times does it bounce? Three times before it rolls away. 0123456789\n\n",
    "system\n 00:00 00:01 00:02 ",
]


def write_checkpoint(directory: Path) -> Path:
    """Writes tokenizer.json, tokenizer_config.json and the template as a release has them."""
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    # Line breaks are pieces of their own, and no piece spans two words.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex("\n+"), behavior="isolated"),
            pre_tokenizers.Split("▁", behavior="merged_with_next"),
        ]
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer.train_from_iterator(
        _CORPUS,
        trainers.BpeTrainer(
            vocab_size=440,
            show_progress=False,
            special_tokens=CONTROL + [f"<0x{byte:02X}>" for byte in range(256)],
        ),
    )
    trained = json.loads(tokenizer.to_str())
    # Byte pieces are ordinary entries of the vocabulary, not control tokens.
    trained["added_tokens"] = [t for t in trained["added_tokens"] if t["content"] in CONTROL]
    (directory / "tokenizer.json").write_text(json.dumps(trained))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<bos>",
        "eos_token": "<eos>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "mask_token": "<mask>",
        "sot_token": "<|turn>",
        "eot_token": "<turn|>",
        "image_token": "<|image|>",
        "boi_token": "<|image>",
        "eoi_token": "<image|>",
        "audio_token": "<|audio|>",
        "boa_token": "<|audio>",
        "eoa_token": "<audio|>",
        "extra_special_tokens": ["<|video|>"],
        "chat_template": TEMPLATE,
    }
    (directory / "tokenizer_config.json").write_text(json.dumps(config))
    return directory
