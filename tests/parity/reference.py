"""A plain oracle for the host side of Qwen2.5-VL, and the same examples for transformers.

Written with loops, one patch at a time, from the public description of the model: it shares no
code with the product, whose layout and batches can be compared with it.
"""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import torch
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from vsft_jax.models.qwen2_5_vl.config import ModelConfig, from_hf

HF_CONFIG = {
    "model_type": "qwen2_5_vl",
    "image_token_id": 150,
    "video_token_id": 151,
    "vision_start_token_id": 152,
    "vision_end_token_id": 153,
    "tie_word_embeddings": False,
    "text_config": {
        "model_type": "qwen2_5_vl_text",
        "vocab_size": 160,
        "hidden_size": 64,
        "intermediate_size": 80,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-5,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10000.0,
            "mrope_section": [2, 3, 3],
        },
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,
    },
    "vision_config": {
        "model_type": "qwen2_5_vl_vision",
        "depth": 4,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_heads": 2,
        "patch_size": 14,
        "temporal_patch_size": 2,
        "spatial_merge_size": 2,
        "window_size": 112,
        "fullatt_block_indexes": [1, 3],
        "out_hidden_size": 64,
        "tokens_per_second": 2,
    },
}


@dataclasses.dataclass(frozen=True)
class Text:
    ids: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Media:
    """patches: uint8[t · h · w, 1176] in transformers' order (t, h/2, w/2, 2, 2)."""

    kind: str
    grid: tuple[int, int, int]
    patches: np.ndarray
    second_per_grid: float = 0.0


def random_media(rng, kind, grid, second_per_grid=0.0) -> Media:
    t, h, w = grid
    patches = rng.integers(0, 256, (t * h * w, 1176), dtype=np.uint8)
    return Media(kind, grid, patches, second_per_grid)


def random_text(rng, count) -> Text:
    return Text(tuple(int(i) for i in rng.integers(0, 150, count)))


def media_positions(config: ModelConfig, media: Media, start: int) -> list[tuple[int, int, int]]:
    """M-RoPE positions of one medium's tokens, in transformers' order."""
    t, h, w = media.grid
    positions = []
    for i in range(t):
        time = i * media.second_per_grid * config.vision.tokens_per_second
        for row in range(h // 2):
            for column in range(w // 2):
                positions.append((start + int(time), start + row, start + column))
    return positions


def example_tokens(config: ModelConfig, parts):
    """Ids, positions and kind (0 text, 1 image, 2 video) of every token of one example."""
    ids, positions, kinds, start = [], [], [], 0
    for part in parts:
        if isinstance(part, Text):
            new = [(start + i,) * 3 for i in range(len(part.ids))]
            ids += part.ids
            kinds += [0] * len(new)
        else:
            new = media_positions(config, part, start)
            image = part.kind == "image"
            ids += [config.image_token_id if image else config.video_token_id] * len(new)
            kinds += [1 if image else 2] * len(new)
        positions += new
        start = 1 + max(max(position) for position in positions)
    return ids, positions, kinds


def window_of(unit_row: int, unit_column: int) -> tuple[int, int]:
    """Windows are 4 x 4 merged units (112 pixels)."""
    return unit_row // 4, unit_column // 4


def media_patches(media: Media):
    """The medium's patches in window order.

    Returns a list of (patch values, (row, column), temporal grid, window) and, for each visual
    token in transformers' order, its place among the merged units of that list.
    """
    t, h, w = media.grid
    units = []  # (sort key, index of the unit in transformers' order)
    for i in range(t):
        for row in range(h // 2):
            for column in range(w // 2):
                index = (i * (h // 2) + row) * (w // 2) + column
                units.append(((i, *window_of(row, column), row, column), index))
    units.sort()
    patches, place = [], {}
    for position, ((i, window_row, window_column, row, column), index) in enumerate(units):
        place[index] = position
        for inner in range(4):
            coords = (2 * row + inner // 2, 2 * column + inner % 2)
            values = media.patches[4 * index + inner]
            patches.append((values, coords, i, (i, window_row, window_column)))
    return patches, [place[index] for index in range(len(units))]


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
        "patches": np.zeros((batch, patches, 1176), np.uint8),
        "patch_coords": np.zeros((batch, patches, 2), np.int32),
        "patch_frames": np.zeros((batch, patches), np.int32),
        "patch_windows": np.zeros((batch, patches), np.int32),
    }
    for b, row in enumerate(rows):
        column, patch, frame, window = 0, 0, 0, 0
        for segment, parts in enumerate(row, start=1):
            ids, positions, kinds = example_tokens(config, parts)
            end = column + len(ids)
            out["tokens"][b, column:end] = ids
            out["positions"][b, column:end] = positions
            out["segment_ids"][b, column:end] = segment
            out["targets"][b, column : end - 1] = ids[1:]
            out["loss_weights"][b, column : end - 1] = 1.0
            visual = [column + i for i, kind in enumerate(kinds) if kind]
            for media in (part for part in parts if isinstance(part, Media)):
                values, places = media_patches(media)
                for token, place in zip(visual, places, strict=False):
                    out["visual_index"][b, token, 0] = patch // 4 + place
                visual = visual[len(places) :]
                last_frame = last_window = None
                for value, coords, in_frame, in_window in values:
                    frame += in_frame != last_frame
                    window += in_window != last_window
                    last_frame, last_window = in_frame, in_window
                    out["patches"][b, patch] = value
                    out["patch_coords"][b, patch] = coords
                    out["patch_frames"][b, patch] = frame
                    out["patch_windows"][b, patch] = window
                    patch += 1
            column = end
    return out


def hf_model(**text_overrides) -> Qwen2_5_VLForConditionalGeneration:
    """A tiny transformers model with weights large enough for every part to matter."""
    tied = text_overrides.pop("tie_word_embeddings", False)
    config = {**HF_CONFIG, "tie_word_embeddings": tied}
    config["text_config"] = {**config["text_config"], **text_overrides}
    torch.manual_seed(0)
    model = Qwen2_5_VLForConditionalGeneration(
        Qwen2_5_VLConfig(**config, attn_implementation="eager")
    ).eval()
    return randomise(model)


def randomise(model: torch.nn.Module) -> torch.nn.Module:
    """Gives every parameter a value large enough to matter."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if "norm" in name or "ln_q" in name:
                parameter.copy_(1 + 0.2 * noise)
            elif parameter.ndim == 1:
                parameter.copy_(0.2 * noise)
            else:
                fan_in = parameter[0].numel()
                parameter.copy_(noise / fan_in**0.5)
    return model


def our_config(**overrides) -> ModelConfig:
    compute = {"dtype": "float32", "param_dtype": "float32", "remat": "none"}
    return dataclasses.replace(from_hf(HF_CONFIG, **compute), **overrides)


def hf_inputs(config: ModelConfig, parts, positions: bool = True) -> dict[str, torch.Tensor]:
    """One example for transformers; without `positions` it computes them itself."""
    ids, position_ids, kinds = example_tokens(config, parts)
    mean, std = np.array(config.vision.image_mean), np.array(config.vision.image_std)
    inputs = {
        "input_ids": torch.tensor([ids]),
        "attention_mask": torch.ones(1, len(ids), dtype=torch.long),
        "mm_token_type_ids": torch.tensor([kinds], dtype=torch.int32),
    }
    if positions:
        inputs["position_ids"] = torch.tensor(position_ids).T[:, None]
    for kind, pixels, grid in (
        ("image", "pixel_values", "image_grid_thw"),
        ("video", "pixel_values_videos", "video_grid_thw"),
    ):
        media = [part for part in parts if isinstance(part, Media) and part.kind == kind]
        if media:
            values = np.concatenate([m.patches for m in media]).reshape(-1, 3, 392) / 255
            values = (values - mean[:, None]) / std[:, None]
            inputs[pixels] = torch.tensor(values.reshape(-1, 1176), dtype=torch.float32)
            inputs[grid] = torch.tensor([m.grid for m in media])
        if media and kind == "video":
            inputs["second_per_grid_ts"] = torch.tensor([m.second_per_grid for m in media])
    return inputs


def greedy(
    model: torch.nn.Module, inputs: Mapping[str, Any], count: int, banned: Collection[int]
) -> list[int]:
    """transformers' next tokens, likeliest first, but for some that it may not write."""
    with torch.no_grad():
        output = model.generate(
            **inputs,
            max_new_tokens=count,
            do_sample=False,
            eos_token_id=None,
            suppress_tokens=list(banned),
        )
    return output[0, inputs["input_ids"].shape[1] :].tolist()
