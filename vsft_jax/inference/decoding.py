"""What generation takes and gives: the endings of prompts, how tokens are chosen, answers."""

import dataclasses
from collections.abc import Collection
from typing import NamedTuple

from jax import Array

from vsft_jax.inference.token_sampling import GREEDY, Sampling


class Endings(NamedTuple):
    """What the prompts of a batch have behind their beginnings: G in a row, W positions in all.

    tokens: int32[B, W], one ending after the other. positions: int32[B, W, 3]. prompts: int32[B,
    W], which of the row's prompts a token belongs to, 1 … G, 0 for padding. last: int32[B, G], the
    place in W of each prompt's last token, -1 for no prompt. beginnings: int32[B, G], the segment
    id of the beginning that each prompt goes on from. next_positions: int32[B, G], of the first
    token of the answer.
    """

    tokens: Array
    positions: Array
    prompts: Array
    last: Array
    beginnings: Array
    next_positions: Array


class Generated(NamedTuple):
    """What was generated, T = Decoding.max_new_tokens.

    tokens: int32[B, G, T]; behind the stop token, pad_id.
    logprobs: float32[B, G, T], of each token under the model's own distribution: banned tokens left
        out, at temperature 1 and with all other tokens, however it was drawn. The stop token's is
        included; 0 behind it.
    lengths: int32[B, G], tokens before the stop token. Where lengths < T, the token at that place
        is the stop token; where there is no prompt, length 0 and only padding.
    likeliest, likeliest_logprobs: int32 and float32[B, G, T, A], the A = Decoding.likeliest most
        likely tokens of each step, best first, by the same distribution; None where A is 0.
    """

    tokens: Array
    logprobs: Array
    lengths: Array
    likeliest: Array | None = None
    likeliest_logprobs: Array | None = None


class Step(NamedTuple):
    """One token of each prompt: what `Generated` has of it, without the axis T.

    done: bool[B, G], the answer has ended: with this token, a stop token, or before.
    """

    token: Array
    logprob: Array
    done: Array
    likeliest: Array | None
    likeliest_logprobs: Array | None


@dataclasses.dataclass(frozen=True)
class Decoding:
    """How answers are generated; hashable, since each one is compiled for itself.

    max_new_tokens: T. stop_ids: an answer ends with the first of these that it chooses. banned_ids:
    never chosen; media tokens belong here, since no pixels stand behind them. pad_id: fills
    `Generated.tokens` behind the stop token. sampling: how tokens are chosen; by default the most
    likely one. likeliest: A, how many of the most likely tokens of each step are told.

    Raises ValueError: max_new_tokens is not positive, or every stop token is banned.
    """

    max_new_tokens: int
    stop_ids: Collection[int]
    banned_ids: Collection[int]
    pad_id: int
    sampling: Sampling = GREEDY
    likeliest: int = 0

    def __post_init__(self) -> None:
        for name in ("stop_ids", "banned_ids"):
            object.__setattr__(self, name, tuple(sorted({*getattr(self, name)})))
        if self.max_new_tokens <= 0:
            raise ValueError(f"max_new_tokens must be positive, not {self.max_new_tokens}")
        if self.stop_ids and set(self.stop_ids) <= set(self.banned_ids):
            raise ValueError(
                f"all stop tokens {self.stop_ids} are among the banned ones {self.banned_ids}"
            )
