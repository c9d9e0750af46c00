"""What a step says of itself, as sums on the devices until somebody reads them."""

import math

import flax
import jax
import jax.numpy as jnp
import numpy as np
from clu import metrics as clu_metrics

from vsft_jax.train.loss import LossSums, RouterSums

_MEANS = ("loss", "token_accuracy", "grad_norm")
_MEANS_OF_EXPERTS = ("router_loss", "busiest_expert")


@flax.struct.dataclass
class StepMetrics:
    """Sums over a step that merge exactly over steps: loss and accuracy for each answer token.

    router_loss, busiest_expert: means over microbatches, see `Balance`; of a model with experts.
    """

    loss: clu_metrics.Average
    token_accuracy: clu_metrics.Average
    grad_norm: clu_metrics.Average  # before clipping
    router_loss: clu_metrics.Average
    busiest_expert: clu_metrics.Average
    bad: jax.Array | np.ndarray  # float32[], steps with a loss or gradient that is not finite, and
    spikes: jax.Array | np.ndarray  # float32[], those of them that had one, but far above the usual

    @classmethod
    def from_sums(
        cls,
        sums: LossSums,
        routers: RouterSums,
        grad_norm: jax.Array,
        finite: jax.Array,
        spike: jax.Array,
    ) -> "StepMetrics":
        """sums: over all answer tokens of a step. grad_norm: float32[]. finite, spike: bool[]. A
        step that is not finite or a spike adds nothing but itself to the bad ones."""
        good = finite & ~spike
        sums, routers = jax.tree.map(lambda x: jnp.where(good, x, 0.0), (sums, routers))
        learns = sums.weight > 0
        return cls(
            loss=clu_metrics.Average(total=sums.loss, count=sums.weight),
            token_accuracy=clu_metrics.Average(total=sums.correct, count=sums.weight),
            grad_norm=clu_metrics.Average(
                total=jnp.where(learns, grad_norm, 0.0), count=learns.astype(jnp.float32)
            ),
            router_loss=clu_metrics.Average(total=routers.loss, count=routers.batches),
            busiest_expert=clu_metrics.Average(total=routers.busiest, count=routers.batches),
            bad=1.0 - good.astype(jnp.float32),
            spikes=(finite & spike).astype(jnp.float32),
        )

    @classmethod
    def nothing(cls) -> "StepMetrics":
        """The metrics of no steps, on the host."""
        zero = np.zeros((), np.float32)
        none = clu_metrics.Average(total=zero, count=zero)
        means = dict.fromkeys((*_MEANS, *_MEANS_OF_EXPERTS), none)
        return cls(**means, bad=zero, spikes=zero)

    def merge(self, other: "StepMetrics") -> "StepMetrics":
        """The metrics of both steps' tokens together."""
        return jax.tree.map(jnp.add, self, other)

    def compute(self) -> dict[str, float]:
        """Host values by name, NaN for a mean of nothing; those about experts where there are any.
        Call it on host values."""
        means = {
            name: float(mean.total / mean.count) if mean.count else math.nan
            for name in (*_MEANS, *_MEANS_OF_EXPERTS)
            for mean in [getattr(self, name)]
            if name in _MEANS or mean.count
        }
        return {**means, "bad_steps": int(self.bad)}
