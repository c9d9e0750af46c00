"""The numbers of Gemma 4's tower and language model, as frozen dataclasses."""

import dataclasses

import numpy as np

from vsft_jax.models.shared import config as shared
from vsft_jax.models.shared.config import check
from vsft_jax.models.shared.layers import rotary_frequencies


@dataclasses.dataclass(frozen=True)
class VisionConfig:
    """The vision tower; the defaults are that of E2B and E4B.

    patch_size: pixels. merge_size: side in patches of what is averaged to one visual token.
    positions: rows of the learned table, for each of the two axes.
    clipped: inputs and outputs of every matrix are held inside bounds of the checkpoint's.
    standardize: visual tokens are shifted and scaled by constants of the checkpoint's.
    image_mean, image_std: of the processor, which leaves 0 … 1; the tower reads that as -1 … 1.
    """

    depth: int = 16
    width: int = 768
    mlp_width: int = 3072
    heads: int = 12
    kv_heads: int = 12
    head_dim: int = 64
    patch_size: int = 16
    merge_size: int = 3
    positions: int = 10240
    rope_theta: float = 100.0
    norm_eps: float = 1e-6
    clipped: bool = True
    standardize: bool = False
    image_mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    image_std: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        check(
            self.heads % self.kv_heads == 0,
            f"vision heads {self.heads} must be a multiple of kv_heads {self.kv_heads}",
        )
        check(
            self.head_dim % 4 == 0,
            f"vision head_dim {self.head_dim} must be a multiple of 4: half of it turns with the "
            "column, half with the row",
        )

    @property
    def patch_columns(self) -> int:
        """Values of one patch, ordered (row, column, channel)."""
        return 3 * self.patch_size**2


@dataclasses.dataclass(frozen=True)
class LayerSpec:
    """The numbers of one kind of text layer.

    window: how many positions it sees, itself counted; None: all before it.
    shared: it has no keys and values of its own, but those of the last layer that has, of its kind.
    k_eq_v: its values are its keys before they are normalised and turned.
    """

    heads: int
    kv_heads: int
    head_dim: int
    mlp_width: int
    window: int | None
    shared: bool
    k_eq_v: bool


@dataclasses.dataclass(frozen=True)
class TextConfig(shared.TextConfig):
    """See `shared.config.TextConfig`, whose numbers are those of sliding layers.

    full_layers: which layers see everything before them; the others see `window` positions.
    full_head_dim, full_kv_heads, full_rope_theta: theirs. full_rotary: the part of a head that
        turns in them.
    k_eq_v: see `LayerSpec`; of full layers.
    shared_layers: how many of the last layers have no keys and values of their own; with
        wide_shared their MLPs are twice as wide.
    layer_input_width: of what each layer gets of every token beside the stream; 0: nothing.
    logit_cap: logits are held within ± this by a tanh; 0: not at all.
    two_way_media: the positions of a picture or frame see all of it, in sliding layers.
    pad_id: the token whose `layer_input` stands for visual tokens.
    expert_width: of the MLPs of experts, which stand beside each layer's own.
    """

    head_dim: int = 256
    rope_theta: float = 10000.0
    tie_word_embeddings: bool = True
    max_positions: int = 131072
    full_layers: tuple[int, ...] = ()
    window: int = 512
    full_head_dim: int = 512
    full_kv_heads: int = 1
    full_rope_theta: float = 1_000_000.0
    full_rotary: float = 0.25
    k_eq_v: bool = False
    shared_layers: int = 0
    wide_shared: bool = False
    layer_input_width: int = 0
    logit_cap: float = 0.0
    two_way_media: bool = False
    pad_id: int = 0
    expert_width: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check(
            self.heads % self.full_kv_heads == 0,
            f"text heads {self.heads} must be a multiple of full_kv_heads {self.full_kv_heads}",
        )
        check(
            self.k_eq_v or self.full_kv_heads == self.kv_heads,
            f"text full_kv_heads {self.full_kv_heads} must be kv_heads {self.kv_heads} where k_eq_v"
            " is false",
        )
        layers = tuple(sorted(set(self.full_layers)))
        check(
            layers == self.full_layers and bool(layers) and layers[-1] == self.depth - 1,
            f"text full_layers {self.full_layers} must rise and end with the last layer, "
            f"{self.depth - 1}",
        )
        check(
            not (self.experts and self.shared_layers),
            f"text experts {self.experts} with shared_layers {self.shared_layers} is not supported",
        )
        own = set(self.kinds[: self.depth - self.shared_layers])
        check(
            {kind.removesuffix("_shared") for kind in self.kinds} <= own,
            f"text shared_layers {self.shared_layers} leaves no layer of some kind with keys of "
            "its own",
        )

    @property
    def kinds(self) -> tuple[str, ...]:
        """Of every layer, its kind: "sliding" or "full", and "_shared" where it has no keys."""
        full, first_shared = set(self.full_layers), self.depth - self.shared_layers
        return tuple(
            ("full" if i in full else "sliding") + ("_shared" if i >= first_shared else "")
            for i in range(self.depth)
        )

    @property
    def attention_widths(self) -> tuple[int, int]:
        """See `shared.config.TextConfig`."""
        full = len(self.full_layers)
        near = self.heads * self.head_dim * (self.depth - full)
        return self.heads * self.full_head_dim * full, near

    def layers_of(self, kind: str) -> tuple[int, ...]:
        """The layers of a kind, from 0."""
        return tuple(i for i, found in enumerate(self.kinds) if found == kind)

    def spec(self, kind: str) -> LayerSpec:
        """One layer of a kind."""
        full, is_shared = kind.startswith("full"), kind.endswith("_shared")
        return LayerSpec(
            heads=self.heads,
            kv_heads=self.full_kv_heads if full else self.kv_heads,
            head_dim=self.full_head_dim if full else self.head_dim,
            mlp_width=self.mlp_width * (2 if self.wide_shared and is_shared else 1),
            window=None if full else self.window,
            shared=is_shared,
            k_eq_v=self.k_eq_v and full,
        )

    def full_frequencies(self) -> np.ndarray:
        """float32[full_head_dim / 2], radians a position of full layers: as if the whole head
        turned, but zero for the part that does not."""
        frequencies = rotary_frequencies(self.full_head_dim, self.full_rope_theta)
        turning = int(self.full_rotary * self.full_head_dim // 2)
        return np.where(np.arange(len(frequencies)) < turning, frequencies, 0).astype(np.float32)
