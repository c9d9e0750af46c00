"""Chat templates that behave as those of released checkpoints do, written from what they render,
and the tokenizers to go with them."""

import json
from pathlib import Path
from typing import NamedTuple

import tokenizers

from tests.input_pipeline import tiny_gemma, tiny_llama, tiny_qwen, tiny_smollm
from vsft_jax.models.smolvlm.layout import CLIP_TEMPLATE

# Qwen3-VL Instruct: no system text of its own; content is a text or a list.
QWEN3_VL = """\
{%- macro shown(content) -%}
  {%- if content is string -%}{{ content }}
  {%- else -%}
    {%- for part in content -%}
      {%- if part.type == 'image' -%}<|vision_start|><|image_pad|><|vision_end|>
      {%- elif part.type == 'video' -%}<|vision_start|><|video_pad|><|vision_end|>
      {%- elif 'text' in part -%}{{ part.text }}
      {%- endif -%}
    {%- endfor -%}
  {%- endif -%}
{%- endmacro -%}
{%- for message in messages %}
  {{- '<|im_start|>' + message.role + '\\n' + shown(message.content) + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}
"""

# Qwen3-VL Thinking: reasoning is a field, or stands in the content before </think>. Only answers
# behind the last question show it; the last answer always shows a think block.
_THINKING_ANSWERS = """\
{%- macro shown(content) -%}
  {%- if content is string -%}{{ content }}
  {%- else -%}
    {%- for part in content -%}
      {%- if part.type == 'image' -%}<|vision_start|><|image_pad|><|vision_end|>
      {%- elif part.type == 'video' -%}<|vision_start|><|video_pad|><|vision_end|>
      {%- else -%}{{ part.text }}
      {%- endif -%}
    {%- endfor -%}
  {%- endif -%}
{%- endmacro -%}
{%- set seen = namespace(question=0) %}
{%- for message in messages %}
  {%- if message.role == 'user' and not shown(message.content).startswith('<tool_response>') %}
    {%- set seen.question = loop.index0 %}
  {%- endif %}
{%- endfor %}
{%- for message in messages %}
  {%- set content = shown(message.content) %}
  {%- if message.role != 'assistant' %}
    {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>\\n' }}
  {%- else %}
    {%- set thought = '' %}
    {%- if message.reasoning_content is string %}
      {%- set thought = message.reasoning_content %}
    {%- elif '</think>' in content %}
      {%- set thought = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1] %}
      {%- set thought = thought.lstrip('\\n') %}
      {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
    {%- endif %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if loop.index0 > seen.question and (loop.last or thought) %}
      {{- '<think>\\n' + thought.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
    {%- else %}
      {{- content }}
    {%- endif %}
    {{- '<|im_end|>\\n' }}
  {%- endif %}
{%- endfor %}
"""
QWEN3_VL_THINKING = f"""{_THINKING_ANSWERS}
{{%- if add_generation_prompt %}}{{{{- '<|im_start|>assistant\\n<think>\\n' }}}}{{%- endif %}}
"""
# Qwen3's hybrid models: the prompt leaves it to the model whether it thinks.
QWEN3_HYBRID = f"""{_THINKING_ANSWERS}
{{%- if add_generation_prompt %}}{{{{- '<|im_start|>assistant\\n' }}}}{{%- endif %}}
"""
# Qwen3.5: texts are trimmed, every answer behind the last question shows a think block, and a
# system text stands first or nowhere. The prompt of the small models has an empty block, that of
# the larger ones an open one.
_ALWAYS = _THINKING_ANSWERS.replace("= shown(message.content)", "= shown(message.content) | trim")
_ALWAYS = _ALWAYS.replace(" and (loop.last or thought)", "")
_ALWAYS = _ALWAYS.replace(
    "{%- if message.role != 'assistant' %}",
    "{%- if message.role == 'system' and not loop.first %}{{ raise_exception('System first.') }}"
    "{%- endif %}{%- if message.role != 'assistant' %}",
)
QWEN3_5_SMALL = f"""{_ALWAYS}
{{%- if add_generation_prompt %}}
  {{{{- '<|im_start|>assistant\\n<think>\\n' }}}}
  {{{{- '' if enable_thinking is true else '\\n</think>\\n\\n' }}}}
{{%- endif %}}
"""
QWEN3_5 = QWEN3_5_SMALL.replace(
    "'' if enable_thinking is true", "'' if enable_thinking is not false"
)


def _llava(header: str, media_end: str, text: str, end: str, prompt: str) -> str:
    """The kind of templates that LLaVA's conversions have: images, then clips, then texts, those
    of the assistant in a {% generation %} block, which does not hold what ends the turn."""
    texts = "{% for part in message['content'] | selectattr('type', 'equalto', 'text') %}"
    return "".join(
        [
            "{% for message in messages %}" + header,
            *(
                f"{{% for part in message['content'] | selectattr('type', 'equalto', '{kind}') %}}"
                f"{{{{ '<{kind}>{media_end}' }}}}{{% endfor %}}"
                for kind in ("image", "video")
            ),
            "{% if message['role'] == 'assistant' %}" + texts,
            f"{{% generation %}}{text}{{% endgeneration %}}",
            "{% endfor %}{% else %}" + texts + text + "{% endfor %}{% endif %}",
            end + "{% endfor %}",
            f"{{% if add_generation_prompt %}}{{{{ '{prompt}' }}}}{{% endif %}}",
        ]
    )


_VICUNA = _llava(
    "{% if message['role'] != 'system' %}{{ message['role'].upper() + ': ' }}{% endif %}",
    "\\n",
    "{{ part['text'] + ' ' }}",
    "",
    "ASSISTANT:",
)
# Hermes-Yi, the language model of LLaVA-NeXT-Video 34b.
_CHATML = _llava(
    "{{ '<|im_start|>' + message['role'] + '\\n' }}",
    "\\n",
    "{{ part['text'] }}",
    "{{ '<|im_end|>' }}",
    "<|im_start|>assistant\\n",
)
# A space behind the role, and the line break before the text: "assistant \nX", but the prompt
# ends in "assistant\n".
_ONEVISION = _llava(
    "{{ '<|im_start|>' + message['role'] + ' ' }}",
    "",
    "{{ '\\n' + part['text'] }}",
    "{{ '<|im_end|>' }}",
    "<|im_start|>assistant\\n",
)


class Released(NamedTuple):
    """template: its source. vicuna: the tokenizer is Llama's. smol: it is SmolLM2's. gemma: it is
    Gemma's. end: what ends an answer. clip_template: for conversations with clips, a clip written
    as an image."""

    template: str
    media_tokens: dict[str, str]
    vicuna: bool = False
    smol: bool = False
    gemma: bool = False

    @property
    def end(self) -> str:
        if self.gemma:
            return "<turn|>"
        if self.smol:
            return "<end_of_utterance>"
        return "</s>" if self.vicuna else "<|im_end|>"

    @property
    def clip_template(self) -> str | None:
        return CLIP_TEMPLATE.replace("part['type'] ~ '>'", "'image>'") if self.smol else None

    def write(self, directory: Path) -> Path:
        """A directory with tokenizer and template, as a checkpoint has them."""
        if self.vicuna:
            tiny_llama.write_checkpoint(directory, self.media_tokens)
        elif self.smol:
            tiny_smollm.write_checkpoint(directory)
        elif self.gemma:
            tiny_gemma.write_checkpoint(directory)
        else:
            tiny_qwen.write_checkpoint(directory, self.template)
            path = directory / "tokenizer.json"
            tokenizer = tokenizers.Tokenizer.from_file(str(path))
            tokenizer.add_special_tokens(list(self.media_tokens.values()))
            tokenizer.add_tokens(["<think>", "</think>"])  # as Qwen3 has them: not special
            tokenizer.save(str(path))
        config = json.loads((directory / "tokenizer_config.json").read_text())
        del config["chat_template"]
        (directory / "tokenizer_config.json").write_text(json.dumps(config))
        (directory / "chat_template.jinja").write_text(self.template)
        return directory


_QWEN, _TAGS = tiny_qwen.MEDIA_TOKENS, {"image": "<image>", "video": "<video>"}
_IMAGES = {"image": "<image>", "video": "<image>"}

# By family and size. All sizes of a line have the same template, but for their default system text.
_QWEN3_5 = dict.fromkeys(("0.8b", "2b"), QWEN3_5_SMALL)
_QWEN3_5 |= dict.fromkeys(("4b", "9b", "27b", "35b-a3b", "122b-a10b", "397b-a17b"), QWEN3_5)
_QWEN3_VL = ("2b", "4b", "8b", "32b", "30b-a3b", "235b-a22b")

RELEASED = {
    **{f"qwen2_5_vl {n}b": Released(tiny_qwen.TEMPLATE, _QWEN) for n in (3, 7, 32, 72)},
    **{f"qwen3_vl {size}": Released(QWEN3_VL, _QWEN) for size in _QWEN3_VL},
    **{f"qwen3_vl {size} thinking": Released(QWEN3_VL_THINKING, _QWEN) for size in _QWEN3_VL},
    **{f"qwen3_5 {size}": Released(text, _QWEN) for size, text in _QWEN3_5.items()},
    "qwen3 hybrid": Released(QWEN3_HYBRID, _QWEN),
    **{f"llava_1_5 {n}b": Released(_VICUNA, _IMAGES, vicuna=True) for n in (7, 13)},
    "llava_next_video 7b": Released(_VICUNA, _TAGS, vicuna=True),
    "llava_next_video 34b": Released(_CHATML, _TAGS),
    **{f"llava_onevision {n}b": Released(_ONEVISION, _TAGS) for n in ("0.5", "7")},
    **{
        f"smolvlm {size}": Released(tiny_smollm.TEMPLATE, tiny_smollm.MEDIA_TOKENS, smol=True)
        for size in ("256m", "500m", "2.2b")
    },
    **{
        f"gemma4 {size}": Released(tiny_gemma.TEMPLATE, tiny_gemma.MEDIA_TOKENS, gemma=True)
        for size in ("e2b", "e4b")
    },
    # Its prompt says that the model does not think.
    **{
        f"gemma4 {size}": Released(tiny_gemma.LARGE_TEMPLATE, tiny_gemma.MEDIA_TOKENS, gemma=True)
        for size in ("31b", "26b-a4b")
    },
}
