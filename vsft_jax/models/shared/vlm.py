"""What every family's model is to the code around it: a tower, a projector and a language model."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.sharding import PartitionSpec

from input_pipeline.layout import NEWLINE
from vsft_jax.models.shared.decoder import Attended
from vsft_jax.models.shared.experts import Load
from vsft_jax.sharding import position_axis, row_axes, shard_rows


class VisionLanguageModel(nnx.Module):
    """A pure function of parameters and fixed-size arrays: one compilation serves any media.

    Use a family's Model in functional form, under `jax.jit` or `jax.eval_shape` at full size:

        model = Model(config, rngs=nnx.Rngs(0))
        graphdef, params = nnx.split(model)
        hidden = nnx.merge(graphdef, params).hidden_states(arrays)

    A family sets the attributes `visual` (tower), `merger` (projector) and `llm`, which are the
    first part of every parameter's path. Where media reach the language model in another way than
    `embed` has it, it says how.
    """

    visual: Any
    merger: Any
    llm: Any

    def features(self, arrays: Mapping[str, Array]) -> Array:
        """What the tower makes of the patches: float[B, N, D_vision]."""
        return self.visual(arrays["patches"], arrays["patch_coords"], arrays["patch_frames"])

    def embed(self, arrays: Mapping[str, Array]) -> tuple[Array, Any]:
        """Input of the language model: float[B, L, D], visual tokens in their places, and what it
        takes beside that: of the shared decoder what is added after its first layers, float[S, B,
        L, D] or None."""
        x = shard_rows(self.llm.embed(arrays["tokens"]))
        if not has_media(arrays):
            return x, None
        merged = shard_rows(self.merger(self.features(arrays)))
        index = arrays["visual_index"]
        return insert(x, gather(merged, index, None), index), None

    def hidden_states(self, arrays: Mapping[str, Array]) -> Array:
        """Final hidden states of packed rows.

        Args:
            arrays: fields of `Batch` (input_pipeline/batches): tokens int32[B, L], positions
                int32[B, L, 3], segment_ids int32[B, L], and for rows with media visual_index
                int32[B, L, K], visual_weights float32[B, L, K] where K > 1, patches uint8[B, N, C],
                patch_coords int32[B, N, A], patch_frames int32[B, N], patch_windows int32[B, N].
                Other fields are not looked at.

        Returns:
            float[B, L, D] in the config's dtype.
        """
        return self.states_and_load(arrays)[0]

    def states_and_load(self, arrays: Mapping[str, Array]) -> tuple[Array, Load | None]:
        """`hidden_states`, and how experts were used, see `Decoder.__call__`."""
        x, deepstack = self.embed(arrays)
        return self.llm(x, arrays["positions"], arrays["segment_ids"], deepstack)

    def prefill(self, arrays: Mapping[str, Array], texts: int) -> tuple[Array, Any]:
        """`hidden_states`, and what to go on from: of most models keys and values of every
        position. texts: segments that a row has at most, where something is kept of each."""
        x, deepstack = self.embed(arrays)
        return self.llm.prefill(x, arrays["positions"], arrays["segment_ids"], deepstack)

    def decode(
        self,
        tokens: Array,
        positions: Array,
        cache: Any,
        slot: Array,
        attended: Attended,
        *,
        causal: bool = False,
    ) -> tuple[Array, Any]:
        """More text: tokens int32[B, n]; the rest as in `Decoder.decode`."""
        x = self.llm.embed(tokens)
        return self.llm.decode(x, positions, cache, slot, attended, causal=causal)

    def longer(self, cache: Any, slots: int) -> Any:
        """A cache with so many more slots a row, empty ones; by default all its arrays have them:
        [layers, B, S, …]."""
        return jax.tree.map(
            lambda x: jnp.pad(x, [(0, 0), (0, 0), (0, slots)] + [(0, 0)] * (x.ndim - 3)), cache
        )

    def unembed(self, hidden: Array) -> Array:
        """hidden: float[..., D] -> logits float32[..., V]."""
        return self.llm.unembed(hidden)

    def output_kernel(self) -> Array:
        """The matrix from hidden states to logits, float[D, V]."""
        return self.llm.output_kernel()

    @property
    def logit_cap(self) -> float:
        """Products with that matrix become cap · tanh(product / cap); 0: they are the logits."""
        return 0.0


def has_media(arrays: Mapping[str, Array]) -> bool:
    """Whether the rows of these shapes can hold media at all."""
    return "patches" in arrays and arrays["patches"].shape[1] > 0


def gather(features: Array, visual_index: Array, visual_weights: Array | None) -> Array:
    """The visual feature of every text position, a weighted sum where K > 1.

    Args:
        features: float[B, M, D].
        visual_index: int32[B, L, K], places in M; below 0 counts as 0.
        visual_weights: float32[B, L, K], or None for K = 1.

    Returns:
        float[B, L, D]; meaningless where visual_index is below 0.
    """
    mesh = jax.sharding.get_abstract_mesh()
    rows = row_axes(mesh, features.shape[0])
    split = position_axis(mesh, features.shape[1]) and position_axis(mesh, visual_index.shape[1])
    if split is None or not rows:
        return _gather(features, visual_index, visual_weights)

    def on_device(features: Array, index: Array, weights: Array | None) -> Array:
        # What a share of the text shows may lie on any share of the media.
        return _gather(jax.lax.all_gather(features, split, axis=1, tiled=True), index, weights)

    share = PartitionSpec(rows, split)
    return jax.shard_map(
        on_device,
        in_specs=(share, share, share),
        out_specs=share,
        axis_names={*rows, split},
        check_vma=False,
    )(features, visual_index, visual_weights)


def _gather(features: Array, visual_index: Array, visual_weights: Array | None) -> Array:
    def share(tap: int) -> Array:
        index = jnp.maximum(visual_index[..., tap, None], 0)
        taken = jnp.take_along_axis(features, index, axis=1, mode="clip")
        if visual_weights is None:
            return taken
        return taken * visual_weights[..., tap, None].astype(taken.dtype)

    return sum(map(share, range(1, visual_index.shape[-1])), start=share(0))


def insert(x: Array, visual: Array, visual_index: Array, newline: Array | None = None) -> Array:
    """Puts visual features where visual tokens stand, text embeddings elsewhere.

    Args:
        x: float[B, L, D], embedded text.
        visual: float[B, L, D], from `gather`.
        visual_index: int32[B, L, K]; -1 is text, `NEWLINE` the learned newline.
        newline: float[D].

    Returns:
        float[B, L, D].
    """
    first = visual_index[..., :1]
    x = jnp.where(first >= 0, visual, x)
    return x if newline is None else jnp.where(first == NEWLINE, newline.astype(x.dtype), x)
