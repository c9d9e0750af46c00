"""The published sizes of every family, by their shapes: nothing is allocated."""

import math
import re

import jax
import pytest
import torch
import transformers

from vsft_jax.huggingface.tensors import locate, parameter_shapes, tensor_shapes
from vsft_jax.models import FAMILIES, family_named
from vsft_jax.parameters import path_string
from vsft_jax.plan.footprint import smallest, values_per_chip

# Totals in model.safetensors.index.json of the released checkpoints (bytes / 2). Where there is no
# number, transformers' model of the same config is the only check; tests/vsft_jax/
# test_llava_configs.py has the LLaVA families'.
COUNTS = {
    ("qwen2_5_vl", "3b"): 3_754_622_976,
    ("qwen2_5_vl", "7b"): 8_292_166_656,
    ("qwen2_5_vl", "32b"): 33_452_718_336,
    ("qwen2_5_vl", "72b"): 73_410_777_344,
    ("qwen3_vl", "2b"): 2_127_532_032,
    ("qwen3_vl", "4b"): 4_437_815_808,
    ("qwen3_vl", "8b"): 8_767_123_696,
    ("qwen3_vl", "32b"): None,
    ("qwen3_vl", "30b-a3b"): None,
    ("qwen3_vl", "235b-a22b"): None,
    ("qwen3_5", "0.8b"): None,
    ("qwen3_5", "2b"): None,
    ("qwen3_5", "4b"): None,
    ("qwen3_5", "9b"): None,
    ("qwen3_5", "27b"): None,
    ("qwen3_5", "35b-a3b"): None,
    ("qwen3_5", "122b-a10b"): None,
    ("qwen3_5", "397b-a17b"): None,
    ("gemma4", "e2b"): None,
    ("gemma4", "e4b"): None,
    ("gemma4", "31b"): None,
    ("gemma4", "26b-a4b"): None,
    ("smolvlm", "256m"): 256_484_928,
    ("smolvlm", "500m"): 507_482_304,
    ("smolvlm", "2.2b"): 2_246_784_880,
}


SIZES = [(name, size) for name in FAMILIES for size in family_named(name).sizes]


@pytest.fixture(scope="module", params=SIZES, ids=" ".join)
def published(request):
    """Family, config, and path -> shape of every parameter."""
    name, size = request.param
    family = family_named(name)
    config = family.published(size)
    return request.param, family, config, family.parameters(config)


def _paths(tree):
    return {path_string(path): leaf.shape for path, leaf in jax.tree.leaves_with_path(tree)}


def test_every_parameter_has_one_partition_rule_and_large_ones_are_split(published):
    _, family, _, tree = published
    rules = family.partition_rules()
    for path, shape in _paths(tree).items():
        matching = [rule for rule in rules if re.fullmatch(rule[0], path)]
        assert len(matching) == 1, f"{path}: {matching}"
        spec = matching[0][1]
        assert len(spec) == len(shape), path
        stacked = path.startswith(("visual/blocks", "llm/layers", "merger/deepstack"))
        if math.prod(shape[stacked:]) > 100_000:
            assert "fsdp" in jax.tree.leaves(spec), path
        for size, axis in zip(shape, spec, strict=True):
            assert axis is None or size % 4 == 0, path


def test_64_chips_hold_a_64th_each(published):
    _, family, _, tree = published
    total = sum(leaf.size for leaf in jax.tree.leaves(tree))
    values = values_per_chip(tree, family.partition_rules(), {"fsdp": 64})
    assert total / 64 <= values <= 1.05 * total / 64


@pytest.mark.parametrize("published", list(COUNTS), indirect=True, ids=" ".join)
def test_parameters_are_those_of_transformers(published):
    """Every tensor of transformers' model of this config is in our table, with its shape."""
    key, family, config, tree = published
    shapes, table = parameter_shapes(family, config), family.checkpoint_table(config)
    assert locate(table, shapes).keys() == shapes.keys()
    written = family.to_hf(config)
    assert family.from_hf(written) == config
    kind = getattr(transformers, written["architectures"][0])
    with torch.device("meta"):
        model = kind(kind.config_class(**written))
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    if config.text.tie_word_embeddings:
        del expected["lm_head.weight"]
    found = tensor_shapes([row for row in table if row.written], shapes)
    for name in (each for row in table if row.experts and not row.turned for each in row.names()):
        # Files have them as released, the model in memory the other way round.
        expected[name] = tuple(expected[name][i] for i in (0, 2, 1))
    assert found == expected
    count = sum(math.prod(shape) for shape in found.values())
    assert count == sum(leaf.size for leaf in jax.tree.leaves(tree))
    assert COUNTS[key] in (None, count)


def test_every_size_is_counted():
    assert {key for key in SIZES if not key[0].startswith("llava")} == COUNTS.keys()


def test_the_mesh_of_the_footprint_is_the_smallest():
    """Qwen3-VL 8B's tower is 1152 wide, which 256 does not divide: every chip would hold it whole,
    so that keeping the parameters twice takes less."""
    family = family_named("qwen3_vl")
    tree = family.parameters(family.published("8b"))
    rules = family.partition_rules()
    total = sum(leaf.size for leaf in jax.tree.leaves(tree))
    tower = sum(leaf.size for leaf in jax.tree.leaves(tree["visual"]))
    assert values_per_chip(tree, rules, {}) == total
    whole_tower = values_per_chip(tree, rules, {"fsdp": 256})
    assert tower < whole_tower < tower + 1.02 * total / 256
    values, mesh = smallest(tree, rules, 256)
    assert mesh == {"data": 2, "fsdp": 128}
    assert total / 128 < values < 1.02 * total / 128
