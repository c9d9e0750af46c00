"""Vision tower and projector of Qwen3-VL.

Follows transformers `models/qwen3_vl/modeling_qwen3_vl.py`; the features taken from inside the
tower are DeepStack (arXiv 2406.04334).
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from vsft_jax.models.qwen3_vl.config import ModelConfig
from vsft_jax.models.shared.block import Block
from vsft_jax.models.shared.qwen.vision import Merger, VisionTower
from vsft_jax.models.shared.stacks import make_stack, scan_stack
from vsft_jax.sharding import shard_rows


class TappedTower(VisionTower):
    """Patches to patch features, before merging, at the end and at the tapped layers."""

    config: ModelConfig

    def tapped(self, patches: Array, coords: Array, frame_ids: Array) -> tuple[Array, Array]:
        """Runs the tower; arguments as of `VisionTower.__call__`.

        Returns:
            float[B, N, D] after the last layer and float[S, B, N, D] after `deepstack_layers`.
        """
        vision = self.config.vision
        x, layer = self.begin(patches, coords, frame_ids)

        # Every layer writes its output into the slot of the next layer to be tapped, whose own
        # output is the last to arrive there. Layers after the last tap share a slot that is cut
        # off. The alternative, one output a layer, would hold all of them.
        taps = len(vision.deepstack_layers)
        slots = np.searchsorted(vision.deepstack_layers, np.arange(vision.depth))

        def step(
            block: Block, carry: tuple[Array, Array], slot: Array
        ) -> tuple[tuple[Array, Array], None]:
            x, tapped = carry
            x = layer(block, x)
            return (x, jax.lax.dynamic_update_index_in_dim(tapped, x, slot, 0)), None

        carry = x, jnp.zeros((taps + 1, *x.shape), x.dtype)
        (x, tapped), _ = scan_stack(
            self.blocks, step, carry, jnp.asarray(slots), remat=self.config.remat_of_tower
        )
        return x, tapped[:taps]


class Projector(Merger):
    """The merger of the tower's output, and one more for each tapped layer."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        super().__init__(config, rngs=rngs)

        def make_merger(rngs: nnx.Rngs) -> Merger:
            return Merger(config, norm_merged=True, rngs=rngs)

        self.deepstack = make_stack(len(config.vision.deepstack_layers), make_merger, rngs)

    def both(self, x: Array, tapped: Array) -> tuple[Array, Array]:
        """x: float[B, N, D_vision], tapped: float[S, B, N, D_vision], from the tower ->
        float[B, M, D_text], float[S, B, M, D_text]."""

        def step(merger: Merger, carry: None, x: Array) -> tuple[None, Array]:
            return carry, merger(shard_rows(x))

        _, stacked = scan_stack(
            self.deepstack, step, None, tapped, remat=self.config.remat_of_tower
        )
        return self(x), stacked
