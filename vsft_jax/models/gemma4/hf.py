"""transformers' Gemma 4: names and layout of its tensors, and its processor."""

import dataclasses
from typing import Any

from vsft_jax.models.gemma4.config import ModelConfig, TextConfig, VisionConfig
from vsft_jax.models.gemma4.layout import Layout
from vsft_jax.models.shared.hf.table import Tensor, expert_rows, linear, norm, tensor

_TOWER, _TEXT = "model.vision_tower", "model.language_model"
_NORMS = {
    "input_layernorm": "norm1",
    "post_attention_layernorm": "post_norm1",
    "pre_feedforward_layernorm": "norm2",
    "post_feedforward_layernorm": "post_norm2",
}
_BOUNDS = ("input_min", "input_max", "output_min", "output_max")
_PARTS = ("vision_tower.", "language_model.", "embed_vision.", "audio_tower.", "embed_audio.")
# Those that hear.
_AUDIO = ("model.audio_tower.", "model.embed_audio.")


def checkpoint_table(config: ModelConfig) -> list[Tensor]:
    """Every tensor of a checkpoint but those of its audio tower. Each parameter is a part of
    exactly one."""
    rows = _tower_rows(config.vision)
    rows += linear("model.embed_vision.embedding_projection", "merger/proj", bias=False)
    return rows + _text_rows(config.text)


def _tower_rows(vision: VisionConfig) -> list[Tensor]:
    embedder = f"{_TOWER}.patch_embedder"
    rows = linear(f"{embedder}.input_proj", "visual/patch_embed", bias=False)
    rows.append(tensor(f"{embedder}.position_embedding_table", "visual/positions"))
    layer, block, depth = f"{_TOWER}.encoder.layers.{{i}}", "visual/blocks", vision.depth
    for theirs, ours in _NORMS.items():
        rows += norm(f"{layer}.{theirs}", f"{block}/{ours}", depth)
    for part in ("q_norm", "k_norm"):
        rows += norm(f"{layer}.self_attn.{part}", f"{block}/{part}", depth)
    matrices = {f"self_attn.{part}_proj": part for part in "qkvo"}
    matrices |= {f"mlp.{part}_proj": f"mlp/{part}" for part in ("gate", "up", "down")}
    for theirs, ours in matrices.items():
        rows += linear(f"{layer}.{theirs}.linear", f"{block}/{ours}", depth=depth, bias=False)
        for bound in _BOUNDS if vision.clipped else ():
            name = f"{layer}.{theirs}.{bound}"
            rows.append(tensor(name, f"{block}/{ours}/{bound}", depth, number=True))
    for part in ("std_bias", "std_scale") if vision.standardize else ():
        rows.append(tensor(f"{_TOWER}.{part}", f"visual/{part}"))
    return rows


def _text_rows(text: TextConfig) -> list[Tensor]:
    rows = [tensor(f"{_TEXT}.embed_tokens.weight", "llm/embed/embedding")]
    if text.layer_input_width:
        rows.append(tensor(f"{_TEXT}.embed_tokens_per_layer.weight", "llm/layer_embed/embedding"))
        rows += linear(f"{_TEXT}.per_layer_model_projection", "llm/layer_proj", bias=False)
        rows += norm(f"{_TEXT}.per_layer_projection_norm", "llm/layer_norm")
    for kind in dict.fromkeys(text.kinds):
        layers = text.layers_of(kind)
        rows += [dataclasses.replace(row, layers=layers) for row in _layer_rows(text, kind)]
    rows += norm(f"{_TEXT}.norm", "llm/norm")
    if not text.tie_word_embeddings:
        rows += linear("lm_head", "llm/head", bias=False)
    return rows


def _layer_rows(text: TextConfig, kind: str) -> list[Tensor]:
    """Of the layers of a kind."""
    spec, depth = text.spec(kind), len(text.layers_of(kind))
    layer, ours = f"{_TEXT}.layers.{{i}}", f"llm/layers/{kind}"
    rows = [tensor(f"{layer}.layer_scalar", f"{ours}/scalar", depth)]
    for theirs, part in _NORMS.items():
        rows += norm(f"{layer}.{theirs}", f"{ours}/{part}", depth)
    matrices = ["q", "o"]
    if not spec.shared:
        matrices += ["k"] if spec.k_eq_v else ["k", "v"]
    for part in matrices:
        rows += linear(f"{layer}.self_attn.{part}_proj", f"{ours}/{part}", depth=depth, bias=False)
    for part in ("q_norm",) if spec.shared else ("q_norm", "k_norm"):
        rows += norm(f"{layer}.self_attn.{part}", f"{ours}/{part}", depth)
    for part in ("gate", "up", "down"):
        rows += linear(f"{layer}.mlp.{part}_proj", f"{ours}/mlp/{part}", depth=depth, bias=False)
    if spec.shared:
        # Older checkpoints hold what these layers would have; transformers ignores it.
        kv, width = spec.kv_heads * spec.head_dim, text.width
        left: dict[str, tuple[int, ...]] = {"k_proj": (kv, width), "v_proj": (kv, width)}
        left |= {"k_norm": (spec.head_dim,)}
        rows += [
            Tensor(f"{layer}.self_attn.{part}.weight", (), depth, shape=shape, written=False)
            for part, shape in left.items()
        ]
    if text.experts:
        rows += _expert_rows(layer, f"{ours}/beside", depth)
    if text.layer_input_width:
        for theirs, part in (("per_layer_input_gate", "gate"), ("per_layer_projection", "proj")):
            rows += linear(f"{layer}.{theirs}", f"{ours}/inputs/{part}", depth=depth, bias=False)
        rows += norm(f"{layer}.post_per_layer_input_norm", f"{ours}/inputs/norm", depth)
    return rows


def _expert_rows(layer: str, ours: str, depth: int) -> list[Tensor]:
    mixture = f"{ours}/mixture"
    rows = linear(f"{layer}.router.proj", f"{mixture}/router", depth=depth, bias=False)
    rows.append(tensor(f"{layer}.router.scale", f"{mixture}/scale", depth))
    rows.append(tensor(f"{layer}.router.per_expert_scale", f"{mixture}/weights", depth))
    rows += expert_rows(f"{layer}.experts", f"{mixture}/experts", depth, turned=True)
    for theirs, part in (
        ("pre_feedforward_layernorm_2", "norm"),
        ("post_feedforward_layernorm_2", "post_norm"),
        ("post_feedforward_layernorm_1", "mlp_norm"),
    ):
        rows += norm(f"{layer}.{theirs}", f"{ours}/{part}", depth)
    return rows


def canonical_name(name: str) -> str | None:
    """A tensor's name in the table; None for the audio tower's. A model without its head is saved
    without `model.` before its parts."""
    if name.startswith(_PARTS):
        name = f"model.{name}"
    return None if name.startswith(_AUDIO) else name


def released_name(name: str) -> str:
    """The published name of one of the table's tensors: the same."""
    return name


def processor_files(config: ModelConfig, layout: Layout) -> dict[str, dict[str, Any]]:
    """Name and content of the files from which transformers makes the model's processor."""
    vision = config.vision
    shared = {
        "processor_class": "Gemma4Processor",
        "patch_size": vision.patch_size,
        "pooling_kernel_size": vision.merge_size,
        "do_resize": True,
        "do_rescale": True,
        "do_normalize": False,
        "image_mean": list(vision.image_mean),
        "image_std": list(vision.image_std),
        "resample": 3,
        "rescale_factor": 1 / 255,
    }
    image: dict[str, Any] = {
        "image_processor_type": "Gemma4ImageProcessor",
        "max_soft_tokens": layout.image_tokens,
        "image_seq_length": layout.image_tokens,
        **shared,
    }
    video: dict[str, Any] = {
        "video_processor_type": "Gemma4VideoProcessor",
        "max_soft_tokens": layout.frame_tokens,
        **shared,
    }
    return {
        "preprocessor_config.json": image,
        "video_preprocessor_config.json": video,
        "processor_config.json": {
            "processor_class": "Gemma4Processor",
            "image_seq_length": layout.image_tokens,
            "image_processor": image,
            "video_processor": video,
        },
    }
