"""Gemma 4's examples for transformers: its image processor, its model, its masks."""

from collections.abc import Sequence

import numpy as np
import tokenizers
import torch
from tokenizers import models, pre_tokenizers
from transformers.models.gemma4.image_processing_pil_gemma4 import Gemma4ImageProcessorPil

from input_pipeline.layout import VisionLayout
from input_pipeline.text import ChatTokenizer
from tests.parity import llava_reference
from tests.parity.llava_reference import TEMPLATE, WORDS, Picture

IMAGE, VIDEO, BEGIN, END, CLOSE = range(WORDS, WORDS + 5)
BUDGET = 70  # visual tokens of an image and of a frame

_TEXT = {
    "model_type": "gemma4_text",
    "vocab_size": 160,
    "vocab_size_per_layer_input": 160,
    "hidden_size": 64,
    "intermediate_size": 80,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "global_head_dim": 32,
    "sliding_window": 20,
    "final_logit_softcapping": 6.0,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": 3,
}
_TOWER = {
    "model_type": "gemma4_vision",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "position_embedding_size": 240,
}
_IDS = {
    "model_type": "gemma4",
    "image_token_id": IMAGE,
    "video_token_id": VIDEO,
    "boi_token_id": BEGIN,
    "eoi_token_id": END,
    "tie_word_embeddings": True,
}
_KINDS = ["sliding_attention", "sliding_attention", "full_attention"]

# As E2B: layers' own inputs, the last ones without keys but with wider MLPs; bounded matrices.
SMALL = _IDS | {
    "text_config": _TEXT
    | {
        "num_hidden_layers": 9,
        "layer_types": 3 * _KINDS,
        "hidden_size_per_layer_input": 8,
        "num_kv_shared_layers": 3,
        "use_double_wide_mlp": True,
    },
    "vision_config": _TOWER | {"use_clipped_linears": True},
}
# As 31B: full layers whose values are their keys, pictures that see all of themselves; standardised
# visual tokens.
LARGE = _IDS | {
    "text_config": _TEXT
    | {
        "num_hidden_layers": 6,
        "layer_types": 2 * _KINDS,
        "hidden_size_per_layer_input": 0,
        "attention_k_eq_v": True,
        "num_global_key_value_heads": 1,
        "use_bidirectional_attention": "vision",
    },
    "vision_config": _TOWER | {"use_clipped_linears": False, "standardize": True},
}

# As 26B-A4B: that with experts beside each MLP. Neither their number nor a token's share is even.
EXPERTS = LARGE | {
    "text_config": LARGE["text_config"]
    | {
        "enable_moe_block": True,
        "num_experts": 7,
        "top_k_experts": 3,
        "moe_intermediate_size": 24,
    },
}


def chat(rules: VisionLayout) -> ChatTokenizer:
    """One id a word, as `llava_reference.chat`; times are all the same word."""
    special = ["<|image|>", "<|video|>", "<|image>", "<image|>", "</s>"]
    vocabulary = {f"w{i}": i for i in range(WORDS)}
    vocabulary |= {token: WORDS + i for i, token in enumerate(special)}
    tokenizer = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token="w0"))
    tokenizer.add_special_tokens(special)
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    template = TEMPLATE.replace("'<' + part['type'] + '> '", "'<|' + part['type'] + '|> '")
    assert template != TEMPLATE
    return ChatTokenizer(tokenizer, template, rules.media_tokens, {"eos_token": "</s>"})


class Host(llava_reference.Host):
    """See `llava_reference.Host`."""

    make_chat = staticmethod(chat)


class Oracle(llava_reference.Oracle):
    """A transformers model with its image processor, which its video processor does the same as."""

    def __init__(self, model: torch.nn.Module):
        self.model, self.config = model, model.config
        self.processor = Gemma4ImageProcessorPil(max_soft_tokens=BUDGET)
        if not getattr(model, "was_given_buffers", False) and not model.name_or_path:
            fill_buffers(model)

    def inputs(self, ids: Sequence[int], media: Sequence[Picture]) -> dict[str, torch.Tensor]:
        """What the model's `forward` and `generate` take."""
        inputs: dict[str, torch.Tensor] = {}
        counts: dict[int, list[int]] = {IMAGE: [], VIDEO: []}
        found: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {"image": [], "video": []}
        for medium in media:
            frames = [medium.pixels] if medium.kind == "image" else list(medium.pixels)
            made = self.processor(images=frames, return_tensors="np", do_convert_rgb=False)
            found[medium.kind].append((made["pixel_values"], made["image_position_ids"]))
            kind = IMAGE if medium.kind == "image" else VIDEO
            counts[kind] += np.asarray(made["num_soft_tokens_per_image"]).tolist()
        expanded, kinds = [], []
        for i in ids:
            repeats = counts[i].pop(0) if i in counts else 1
            expanded += [i] * repeats
            kinds += [{IMAGE: 1, VIDEO: 2}.get(i, 0)] * repeats
        assert not any(counts.values())
        inputs["input_ids"] = torch.tensor([expanded])
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        inputs["mm_token_type_ids"] = torch.tensor([kinds])
        for kind, pixels, places in (
            ("image", "pixel_values", "image_position_ids"),
            ("video", "pixel_values_videos", "video_position_ids"),
        ):
            if found[kind]:
                values, positions = map(np.concatenate, zip(*found[kind], strict=True))
                inputs[pixels] = torch.tensor(np.asarray(values, np.float32))
                inputs[places] = torch.tensor(positions)
        if found["video"]:
            lengths = [len(values) for values, _ in found["video"]]
            inputs["num_frames_per_video"] = torch.tensor(lengths)
        return inputs

    def generate(self, ids: Sequence[int], media: Sequence[Picture], count: int) -> list[int]:
        inputs = self.inputs(ids, media)
        with torch.no_grad():
            out = self.model.generate(
                **inputs,
                max_new_tokens=count,
                do_sample=False,
                suppress_tokens=[IMAGE, VIDEO, BEGIN, END],
            )
        return out[0, -count:].tolist()


def fill_buffers(model: torch.nn.Module) -> None:
    """What does not train, and the table of positions: values that matter."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, buffer in [*model.named_buffers(), *model.named_parameters()]:
            part, noise = name.rsplit(".", 1)[-1], torch.rand(buffer.shape, generator=generator)
            if part in ("input_max", "output_max"):
                buffer.copy_(1 + noise)
            elif part in ("input_min", "output_min"):
                buffer.copy_(-1 - noise)
            elif part in ("layer_scalar", "std_scale", "per_expert_scale"):
                buffer.copy_(0.6 + 0.5 * noise)
            elif part in ("std_bias", "position_embedding_table"):
                buffer.copy_(noise - 0.5)
            elif name.endswith("router.scale"):
                buffer.copy_(buffer.shape[0] ** 0.5 * (0.6 + noise))
            elif ".experts." in name:  # a matrix of each, not one of all
                buffer.mul_(buffer.shape[1] ** 0.5)
            elif name.endswith("q_norm.weight"):
                # Products with keys are not divided: as they are, a softmax would take one key.
                buffer.mul_(0.25)
    model.was_given_buffers = True
