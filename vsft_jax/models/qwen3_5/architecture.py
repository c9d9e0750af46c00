"""The numbers of Qwen3.5's language model, as a frozen dataclass."""

import dataclasses

from vsft_jax.models.shared import config as shared
from vsft_jax.models.shared.config import check

LINEAR, FULL = "linear", "full"


@dataclasses.dataclass(frozen=True)
class TextConfig(shared.TextConfig):
    """See `shared.config.TextConfig`, whose heads are those of full layers.

    full_layers: which layers attend to everything before them, counted from 0; the others keep a
        state along each text.
    rotary_share: the part of a head that turns with the position.
    state_key_heads, state_heads: heads of queries and keys, and of values, of which each has its
        own state of state_key_dim times state_dim numbers.
    taps: tokens that the convolution before it sees, their own counted.
    shared_width: with experts, of the MLP that every token also goes to.
    """

    head_dim: int = 256
    rope_theta: float = 10_000_000.0
    mrope_section: tuple[int, ...] = (11, 11, 10)
    mrope_interleaved: bool = True
    qk_norm: bool = True
    max_positions: int = 262144
    full_layers: tuple[int, ...] = ()
    rotary_share: float = 0.25
    state_key_heads: int = 16
    state_heads: int = 32
    state_key_dim: int = 128
    state_dim: int = 128
    taps: int = 4
    shared_width: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        layers = tuple(sorted(set(self.full_layers)))
        check(
            layers == self.full_layers
            and (not layers or 0 <= layers[0] <= layers[-1] < self.depth),
            f"text full_layers {self.full_layers} must rise and be layers of depth {self.depth}",
        )
        check(
            0 < len(layers) < self.depth,
            f"text full_layers {self.full_layers} must be some of the {self.depth} layers, not all",
        )
        check(
            self.state_heads % self.state_key_heads == 0,
            f"text state_heads (linear_num_value_heads) {self.state_heads} must be a multiple of "
            f"state_key_heads (linear_num_key_heads) {self.state_key_heads}",
        )
        check(
            (self.shared_width > 0) == (self.experts > 0),
            f"text shared_width {self.shared_width} must be positive with experts, else 0",
        )
        check(self.taps > 1, f"text taps (linear_conv_kernel_dim) {self.taps} must be 2 or more")

    @property
    def kinds(self) -> tuple[str, ...]:
        """Of every layer, its kind."""
        full = set(self.full_layers)
        return tuple(FULL if i in full else LINEAR for i in range(self.depth))

    def layers_of(self, kind: str) -> tuple[int, ...]:
        """The layers of a kind, from 0."""
        return tuple(i for i, found in enumerate(self.kinds) if found == kind)

    @property
    def rotary_width(self) -> int:
        """See `shared.config.TextConfig`."""
        return int(self.head_dim * self.rotary_share)

    @property
    def attention_widths(self) -> tuple[int, int]:
        """See `shared.config.TextConfig`."""
        return self.heads * self.head_dim * len(self.full_layers), 0

    @property
    def state_operations(self) -> int:
        """See `shared.config.TextConfig`: a state is looked up by key, corrected, and read."""
        states = self.state_heads * self.state_key_dim * self.state_dim
        return 3 * 2 * states * len(self.layers_of(LINEAR))
