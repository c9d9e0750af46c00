"""Memory that a model's parameters take on each chip of a pod, from its partition rules alone.

    python -m vsft_jax.plan.footprint

prints the table of docs/models.md. Activations, gradients and the program come on top of it.
"""

import math
from collections.abc import Iterator, Mapping, Sequence

import jax
from flax import nnx
from jax.sharding import AbstractMesh, AxisType

from vsft_jax.models import FAMILIES, family_named
from vsft_jax.plan.chips import GIB, parse_topology
from vsft_jax.sharding import AXES, with_shardings

# Bytes of a parameter: float32 with AdamW's two moments, or bfloat16 alone.
TRAINING, INFERENCE = 12, 2

TOPOLOGIES = ("v5e:16x16", "v5p:4x4x4", "v6e:16x16")
# Sizes of the 'data' axis that are tried; the rest of the chips are 'fsdp'.
_DATA = (1, 2, 4, 8)


def values_per_chip(
    tree: nnx.State, rules: Sequence[tuple[str, tuple]], mesh: Mapping[str, int]
) -> int:
    """Values of parameters that one chip holds: the shards' sizes, as placed by `sharding`.

    Args:
        tree: `Family.parameters`.
        rules: the family's `partition_rules()`.
        mesh: size of every axis; those that are left out are 1.
    """
    sizes = tuple(mesh.get(axis, 1) for axis in AXES)
    abstract = AbstractMesh(sizes, AXES, axis_types=(AxisType.Auto,) * len(AXES))
    return sum(
        math.prod(leaf.sharding.shard_shape(leaf.shape))
        for leaf in jax.tree.leaves(with_shardings(tree, rules, abstract))
    )


def smallest(
    tree: nnx.State, rules: Sequence[tuple[str, tuple]], chips: int
) -> tuple[int, dict[str, int]]:
    """Fewest values a chip that a ('data', 'fsdp') mesh of so many chips gives, and that mesh.

    It is not always the one with everything on 'fsdp': a width that 'fsdp' does not divide is kept
    whole on every chip.
    """
    meshes = [{"data": n, "fsdp": chips // n} for n in _DATA if chips % n == 0]
    return min(((values_per_chip(tree, rules, m), m) for m in meshes), key=lambda found: found[0])


def table() -> Iterator[str]:
    """Lines of a Markdown table of all published sizes, GiB a chip.

    Where (data × fsdp) is not said, all chips are on 'fsdp'.
    """
    pods: dict[int, list[str]] = {}
    for name in TOPOLOGIES:
        chip, shape = parse_topology(name)
        pods.setdefault(math.prod(shape), []).append(f"{name} ({math.ceil(chip.hbm / GIB)} GiB)")
    columns = [
        f"{', '.join(names)}: {use}" for names in pods.values() for use in ("training", "inference")
    ]
    yield "| | parameters | " + " | ".join(columns) + " |"
    yield "|---|" + "---|" * (len(columns) + 1)
    for family_name in FAMILIES:
        family = family_named(family_name)
        for size in family.sizes:
            tree = family.parameters(family.published(size))
            total = sum(leaf.size for leaf in jax.tree.leaves(tree))
            cells = []
            for chips in pods:
                values, mesh = smallest(tree, family.partition_rules(), chips)
                note = f" ({mesh['data']} × {mesh['fsdp']})" if mesh["data"] > 1 else ""
                cells.append(f"{values * TRAINING / GIB:.2f}{note}")
                cells.append(f"{values * INFERENCE / GIB:.2f}")
            yield f"| `{family_name}` {size} | {total / 1e9:.2f} · 10⁹ | {' | '.join(cells)} |"


if __name__ == "__main__":
    print("\n".join(table()))
