"""transformers' Qwen3.5 checkpoints: names and layout of their tensors."""

import dataclasses

from vsft_jax.models.qwen3_5.architecture import FULL, LINEAR, TextConfig
from vsft_jax.models.qwen3_5.config import ModelConfig
from vsft_jax.models.shared.hf import qwen_table
from vsft_jax.models.shared.hf.qwen_files import processor_files
from vsft_jax.models.shared.hf.table import Tensor, expert_rows, linear, norm, tensor

__all__ = ["canonical_name", "checkpoint_table", "processor_files", "released_name"]

_TEXT = "model.language_model"


def checkpoint_table(config: ModelConfig) -> list[Tensor]:
    """Every tensor of a checkpoint but those that guess further tokens. Each parameter is a part of
    exactly one."""
    text = config.text
    rows = qwen_table.tower_rows(config.vision)
    rows.append(tensor(f"{_TEXT}.embed_tokens.weight", "llm/embed/embedding"))
    for kind, own in ((LINEAR, _linear_rows), (FULL, _full_rows)):
        layers = text.layers_of(kind)
        layer, ours, depth = f"{_TEXT}.layers.{{i}}", f"llm/layers/{kind}", len(layers)
        found = own(text, layer, ours, depth)
        found += norm(f"{layer}.input_layernorm", f"{ours}/norm1", depth)
        found += norm(f"{layer}.post_attention_layernorm", f"{ours}/norm2", depth)
        if text.experts:
            found += _mixture_rows(f"{layer}.mlp", f"{ours}/mlp", depth)
        else:
            found += _mlp_rows(f"{layer}.mlp", f"{ours}/mlp", depth)
        rows += [dataclasses.replace(row, layers=layers) for row in found]
    rows += norm(f"{_TEXT}.norm", "llm/norm")
    if not text.tie_word_embeddings:
        rows += linear("lm_head", "llm/head", bias=False)
    return rows


def _full_rows(text: TextConfig, layer: str, ours: str, depth: int) -> list[Tensor]:
    rows = []
    for part in "qkvo":
        name = f"{layer}.self_attn.{part}_proj"
        rows += linear(name, f"{ours}/{part}", depth=depth, bias=False)
    for part in ("q_norm", "k_norm"):
        rows += norm(f"{layer}.self_attn.{part}", f"{ours}/{part}", depth)
    return rows


def _linear_rows(text: TextConfig, layer: str, ours: str, depth: int) -> list[Tensor]:
    theirs = f"{layer}.linear_attn"
    qkv = [f"{ours}/{part}" for part in "qkv"]
    rows = linear(f"{theirs}.in_proj_qkv", *qkv, depth=depth, bias=False)
    for part in "zab":
        rows += linear(f"{theirs}.in_proj_{part}", f"{ours}/{part}", depth=depth, bias=False)
    rows += linear(f"{theirs}.out_proj", f"{ours}/o", depth=depth, bias=False)
    filters = tuple(tuple(f"{ours}/conv/{part}".split("/")) for part in "qkv")
    keys, values = text.state_key_heads * text.state_key_dim, text.state_heads * text.state_dim
    shape = (2 * keys + values, 1, text.taps)
    rows.append(Tensor(f"{theirs}.conv1d.weight", filters, depth, shape=shape))
    rows.append(tensor(f"{theirs}.A_log", f"{ours}/log_rate", depth))
    rows.append(tensor(f"{theirs}.dt_bias", f"{ours}/step_bias", depth))
    return rows + norm(f"{theirs}.norm", f"{ours}/head_norm", depth)


def _mlp_rows(theirs: str, ours: str, depth: int) -> list[Tensor]:
    rows = []
    for part in ("gate", "up", "down"):
        rows += linear(f"{theirs}.{part}_proj", f"{ours}/{part}", depth=depth, bias=False)
    return rows


def _mixture_rows(theirs: str, ours: str, depth: int) -> list[Tensor]:
    rows = linear(f"{theirs}.gate", f"{ours}/router", depth=depth, bias=False)
    rows += expert_rows(f"{theirs}.experts", f"{ours}/experts", depth, turned=True)
    rows += _mlp_rows(f"{theirs}.shared_expert", f"{ours}/shared", depth)
    gate = f"{theirs}.shared_expert_gate"
    return rows + linear(gate, f"{ours}/shared_gate", depth=depth, bias=False)


def canonical_name(name: str) -> str | None:
    """A tensor's name in the table, in the key layouts of Qwen3-VL; None for those that guess
    further tokens."""
    return None if name.startswith("mtp.") else qwen_table.canonical_name(name)


def released_name(name: str) -> str:
    """The published name of one of the table's tensors: the same."""
    return name
