"""What the families' configs have in common: how to compute, the language model, the whole."""

import dataclasses
from typing import Any

import numpy as np

from vsft_jax.models.shared import attention, stacks
from vsft_jax.models.shared.block import BlockSpec
from vsft_jax.models.shared.layers import rotary_frequencies, yarn_frequencies


def check(holds: bool, message: str) -> None:
    """Raises ValueError(message) unless `holds`."""
    if not holds:
        raise ValueError(message)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Compute:
    """How a model computes.

    dtype: of activations and matrix products; param_dtype: of the stored parameters.
    remat: what the backward pass keeps of each layer, one of `stacks.REMAT`; tower_remat: of the
        tower's, "" for the same.
    attention: implementation, one of `attention.IMPLEMENTATIONS`.
    """

    dtype: str = "bfloat16"
    param_dtype: str = "float32"
    remat: str = "full"
    tower_remat: str = ""
    attention: str = "xla"

    def __post_init__(self) -> None:
        for remat in (self.remat, self.remat_of_tower):
            check(
                remat in stacks.REMAT,
                f"remat {remat!r} is unknown; use one of {tuple(stacks.REMAT)}",
            )
        check(
            self.attention in attention.IMPLEMENTATIONS,
            f"attention {self.attention!r} is unknown; use one of {attention.IMPLEMENTATIONS}",
        )

    @property
    def remat_of_tower(self) -> str:
        """What the backward pass keeps of the tower's layers."""
        return self.tower_remat or self.remat


@dataclasses.dataclass(frozen=True)
class TextConfig:
    """The language model's architecture; a family's subclass sets its own defaults.

    mrope_section: how many of the head_dim / 2 rotary frequencies turn with the temporal, the row
        and the column position; () where positions have one dimension.
    mrope_interleaved: the axes take turns (t, h, w, t, h, w, …) instead of three blocks.
    rope_factor: linear scaling; positions are divided by it.
    yarn_factor: stretching by parts, to so many times the `yarn_positions` that the model was
        trained on before; 1.0 for none. yarn_fast, yarn_slow, yarn_truncate: see
        `layers.yarn_frequencies`. yarn_attention: factor on turned queries and keys.
    max_positions: longest sequence that the model was made for; what is longer is only warned of.
    qk_norm, qkv_bias, experts, experts_per_token: see `block.BlockSpec`.
    router_coef: what the model was trained with as a factor of its experts' `balance`.
    """

    depth: int
    width: int
    mlp_width: int
    heads: int
    kv_heads: int
    vocab_size: int
    head_dim: int = 128
    rope_theta: float = 1_000_000.0
    mrope_section: tuple[int, ...] = ()
    norm_eps: float = 1e-6
    tie_word_embeddings: bool = False
    qkv_bias: bool = False
    qk_norm: bool = False
    mrope_interleaved: bool = False
    rope_factor: float = 1.0
    yarn_factor: float = 1.0
    yarn_positions: int = 32768
    yarn_fast: float = 32.0
    yarn_slow: float = 1.0
    yarn_truncate: bool = True
    yarn_attention: float = 1.0
    max_positions: int = 4096
    experts: int = 0
    experts_per_token: int = 0
    router_coef: float = 0.0

    def __post_init__(self) -> None:
        check(
            self.heads % self.kv_heads == 0,
            f"text heads {self.heads} must be a multiple of kv_heads {self.kv_heads}",
        )
        check(
            not self.mrope_section
            or (len(self.mrope_section) == 3 and 2 * sum(self.mrope_section) == self.rotary_width),
            f"text mrope_section {self.mrope_section} must be three numbers that sum to half of "
            f"{'head_dim' if self.rotary_width == self.head_dim else 'what turns of a head,'} "
            f"{self.rotary_width}",
        )
        check(
            (0 < self.experts_per_token <= self.experts)
            or not (self.experts or self.experts_per_token),
            f"text experts_per_token {self.experts_per_token} must be 1 … experts {self.experts}",
        )

    @property
    def block(self) -> BlockSpec:
        """One layer."""
        return BlockSpec(
            width=self.width,
            mlp_width=self.mlp_width,
            heads=self.heads,
            kv_heads=self.kv_heads,
            head_dim=self.head_dim,
            norm="rms",
            norm_eps=self.norm_eps,
            mlp="swiglu",
            qkv_bias=self.qkv_bias,
            bias=False,
            qk_norm=self.qk_norm,
            experts=self.experts,
            experts_per_token=self.experts_per_token,
        )

    @property
    def rotary_width(self) -> int:
        """How many of the values of a head turn with the position: the first ones."""
        return self.head_dim

    @property
    def window(self) -> int | None:
        """Positions that a layer with a window sees, its own counted; None where none has one."""
        return None

    @property
    def attention_widths(self) -> tuple[int, int]:
        """Heads times their width, over the layers that see all that is before them, and over those
        with a window."""
        return self.heads * self.head_dim * self.depth, 0

    @property
    def state_operations(self) -> int:
        """Operations at every position, over all layers, on states that layers carry along a
        text."""
        return 0

    @property
    def longest(self) -> int:
        """Positions that the model can be used for, stretched ones counted."""
        if self.yarn_factor != 1.0:
            return max(self.max_positions, round(self.yarn_positions * self.yarn_factor))
        return round(self.max_positions * self.rope_factor)

    def rotary_frequencies(self) -> np.ndarray:
        """float32[rotary_width / 2]: radians a position."""
        if self.yarn_factor == 1.0:
            frequencies = rotary_frequencies(self.rotary_width, self.rope_theta)
            return (frequencies / self.rope_factor).astype(np.float32)
        return yarn_frequencies(
            self.rotary_width,
            self.rope_theta,
            factor=self.yarn_factor,
            positions=self.yarn_positions,
            fast=self.yarn_fast,
            slow=self.yarn_slow,
            truncate=self.yarn_truncate,
        )

    def position_axes(self) -> np.ndarray:
        """int[rotary_width / 2]: the axis of the position that each frequency turns with."""
        if not self.mrope_section:
            return np.zeros(self.rotary_width // 2, int)
        if not self.mrope_interleaved:
            return np.repeat(np.arange(3), self.mrope_section)
        axes = np.zeros(self.rotary_width // 2, int)
        for axis in (1, 2):
            axes[axis : 3 * self.mrope_section[axis] : 3] = axis
        return axes


@dataclasses.dataclass(frozen=True)
class ModelConfig(Compute):
    """Base of every family's ModelConfig: architecture, special tokens, and how to compute.

    A family names the class of its `vision`, and adds a field `*_token_id` for each of its special
    tokens, with the id of the published models.
    """

    vision: Any
    text: TextConfig

    @property
    def media_token_ids(self) -> tuple[int, ...]:
        """Tokens that stand for media or their borders: never to be generated."""
        names = [field.name for field in dataclasses.fields(self)]
        return tuple(getattr(self, name) for name in names if name.endswith("_token_id"))
