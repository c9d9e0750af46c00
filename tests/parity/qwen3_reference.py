"""A plain oracle for the host side of Qwen3-VL, and the same examples for transformers.

Written with loops, one patch at a time, from the public description of the model: it shares no
code with the product, whose layout and batches can be compared with it.
"""

import copy
import dataclasses
import functools

import jax
import numpy as np
import torch
from flax import nnx
from transformers import AutoConfig, AutoModelForImageTextToText

from tests.parity.reference import Text, randomise
from vsft_jax.models.qwen3_vl.config import ModelConfig, from_hf

COLUMNS = 3 * 2 * 16 * 16

# Five layers, so that one comes after the last tapped one; a head width that is not width / heads.
HF_CONFIG = {
    "model_type": "qwen3_vl",
    "image_token_id": 150,
    "video_token_id": 151,
    "vision_start_token_id": 152,
    "vision_end_token_id": 153,
    "tie_word_embeddings": False,
    "text_config": {
        "model_type": "qwen3_vl_text",
        "vocab_size": 160,
        "hidden_size": 64,
        "intermediate_size": 80,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 24,
        "rms_norm_eps": 1e-5,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10000.0,
            "mrope_section": [6, 3, 3],
            "mrope_interleaved": True,
        },
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,
    },
    "vision_config": {
        "model_type": "qwen3_vl",
        "depth": 5,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_heads": 2,
        "patch_size": 16,
        "temporal_patch_size": 2,
        "spatial_merge_size": 2,
        "out_hidden_size": 64,
        "num_position_embeddings": 64,
        "deepstack_visual_indexes": [0, 3],
    },
}

# The same with experts: neither their number nor a token's share of it is even.
EXPERTS_CONFIG = copy.deepcopy(HF_CONFIG) | {"model_type": "qwen3_vl_moe"}
EXPERTS_CONFIG["vision_config"]["model_type"] = "qwen3_vl_moe"
EXPERTS_CONFIG["text_config"] |= {
    "model_type": "qwen3_vl_moe_text",
    "moe_intermediate_size": 24,
    "num_experts": 7,
    "num_experts_per_tok": 3,
}


@dataclasses.dataclass(frozen=True)
class Media:
    """patches: uint8[t · h · w, 1536] in transformers' order (t, h/2, w/2, 2, 2).

    times: for a video, the token ids of each temporal grid's time.
    """

    kind: str
    grid: tuple[int, int, int]
    patches: np.ndarray
    times: tuple[tuple[int, ...], ...] = ()


def random_image(rng, height: int, width: int) -> Media:
    patches = rng.integers(0, 256, (height * width, COLUMNS), dtype=np.uint8)
    return Media("image", (1, height, width), patches)


def random_video(rng, grid: tuple[int, int, int]) -> Media:
    """Times of two to four tokens."""
    patches = rng.integers(0, 256, (np.prod(grid), COLUMNS), dtype=np.uint8)
    lengths = rng.integers(2, 5, grid[0])
    times = tuple(tuple(int(i) for i in rng.integers(0, 150, n)) for n in lengths)
    return Media("video", grid, patches, times)


def example_tokens(config: ModelConfig, parts):
    """Ids, positions and kind (0 text, 1 image, 2 video) of every token of one example."""
    ids, positions, kinds, start = [], [], [], 0

    def text(new):
        nonlocal start
        for token in new:
            ids.append(token)
            kinds.append(0)
            positions.append((start, start, start))
            start += 1

    for part in parts:
        if isinstance(part, Text):
            text(part.ids)
            continue
        frames, height, width = part.grid
        pad = config.image_token_id if part.kind == "image" else config.video_token_id
        for i in range(frames):
            text((*(part.times[i] if part.times else ()), config.vision_start_token_id))
            for row in range(height // 2):
                for column in range(width // 2):
                    ids.append(pad)
                    kinds.append(1 if part.kind == "image" else 2)
                    positions.append((start, start + row, start + column))
            start += max(height, width) // 2
            text((config.vision_end_token_id,))
    return ids, positions, kinds


def media_coords(media: Media):
    """(row, column, height, width), temporal grid of every patch, in transformers' order."""
    frames, height, width = media.grid
    for i in range(frames):
        for row in range(height // 2):
            for column in range(width // 2):
                for inner in range(4):
                    place = (2 * row + inner // 2, 2 * column + inner % 2)
                    yield (*place, height, width), i


def packed_arrays(config: ModelConfig, rows, length: int, patches: int) -> dict[str, np.ndarray]:
    """The fields of a batch for `rows`: a list of rows, each a list of examples (lists of parts).

    Targets are the next token of the same example, with weight 1, on every token but the last.
    """
    batch = len(rows)
    out = {
        "tokens": np.zeros((batch, length), np.int32),
        "positions": np.zeros((batch, length, 3), np.int32),
        "segment_ids": np.zeros((batch, length), np.int32),
        "targets": np.zeros((batch, length), np.int32),
        "loss_weights": np.zeros((batch, length), np.float32),
        "visual_index": np.full((batch, length, 1), -1, np.int32),
        "patches": np.zeros((batch, patches, COLUMNS), np.uint8),
        "patch_coords": np.zeros((batch, patches, 4), np.int32),
        "patch_frames": np.zeros((batch, patches), np.int32),
        "patch_windows": np.zeros((batch, patches), np.int32),
    }
    for b, row in enumerate(rows):
        column, patch, frame, unit = 0, 0, 0, 0
        for segment, parts in enumerate(row, start=1):
            ids, positions, kinds = example_tokens(config, parts)
            end = column + len(ids)
            out["tokens"][b, column:end] = ids
            out["positions"][b, column:end] = positions
            out["segment_ids"][b, column:end] = segment
            out["targets"][b, column : end - 1] = ids[1:]
            out["loss_weights"][b, column : end - 1] = 1.0
            for i, kind in enumerate(kinds):
                if kind:
                    out["visual_index"][b, column + i, 0] = unit
                    unit += 1
            for media in (part for part in parts if isinstance(part, Media)):
                for values, (coords, in_frame) in zip(
                    media.patches, media_coords(media), strict=True
                ):
                    out["patches"][b, patch] = values
                    out["patch_coords"][b, patch] = coords
                    out["patch_frames"][b, patch] = frame + in_frame + 1
                    patch += 1
                frame += media.grid[0]
            column = end
    out["patch_windows"][:] = out["patch_frames"]
    return out


def hf_model(numbers=HF_CONFIG, **overrides) -> torch.nn.Module:
    """A tiny transformers model with weights large enough for every part to matter."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(**{**copy.deepcopy(numbers), **overrides})
    config._attn_implementation = "eager"
    return randomise(AutoModelForImageTextToText.from_config(config).eval())


def our_config(numbers=HF_CONFIG, **overrides) -> ModelConfig:
    compute = {"dtype": "float32", "param_dtype": "float32", "remat": "none"}
    return dataclasses.replace(from_hf(numbers, **compute), **overrides)


def hf_inputs(config: ModelConfig, parts) -> dict[str, torch.Tensor]:
    """One example for transformers, which computes the positions itself."""
    ids, _, kinds = example_tokens(config, parts)
    inputs = {
        "input_ids": torch.tensor([ids]),
        "attention_mask": torch.ones(1, len(ids), dtype=torch.long),
        "mm_token_type_ids": torch.tensor([kinds], dtype=torch.int32),
    }
    for kind, pixels, grid in (
        ("image", "pixel_values", "image_grid_thw"),
        ("video", "pixel_values_videos", "video_grid_thw"),
    ):
        media = [part for part in parts if isinstance(part, Media) and part.kind == kind]
        if media:
            values = np.concatenate([m.patches for m in media]) / 255
            inputs[pixels] = torch.tensor((values - 0.5) / 0.5, dtype=torch.float32)
            inputs[grid] = torch.tensor([m.grid for m in media])
    return inputs


def hf_logits(torch_model: torch.nn.Module, config: ModelConfig, parts) -> np.ndarray:
    """float32[positions, V]: transformers' logits of one example."""
    with torch.no_grad():
        return torch_model(**hf_inputs(config, parts)).logits[0].float().numpy()


def named_tensors(torch_model: torch.nn.Module) -> dict[str, np.ndarray]:
    """Its parameters by name."""
    return {name: value.numpy() for name, value in torch_model.state_dict().items()}


@functools.partial(jax.jit, static_argnums=0)
def hidden_and_logits(graphdef, params, arrays):
    """Hidden states and logits of our model on packed rows."""
    model = nnx.merge(graphdef, params)
    hidden = model.hidden_states(arrays)
    return hidden, model.unembed(hidden)
