"""What a step says of itself, as sums on the devices until somebody reads them."""

import flax
import jax
import jax.numpy as jnp
from clu import metrics as clu_metrics

from vsft_jax.train.loss import LossSums


@flax.struct.dataclass
class StepMetrics:
    """Sums over a step that merge exactly over steps: loss and accuracy for each answer token."""

    loss: clu_metrics.Average
    token_accuracy: clu_metrics.Average
    grad_norm: clu_metrics.Average  # before clipping

    @classmethod
    def from_sums(cls, sums: LossSums, grad_norm: jax.Array) -> "StepMetrics":
        """sums: over all answer tokens of a step. grad_norm: float32[]."""
        return cls(
            loss=clu_metrics.Average(total=sums.loss, count=sums.weight),
            token_accuracy=clu_metrics.Average(total=sums.correct, count=sums.weight),
            grad_norm=clu_metrics.Average(total=grad_norm, count=jnp.ones(())),
        )

    def merge(self, other: "StepMetrics") -> "StepMetrics":
        """The metrics of both steps' tokens together."""
        return jax.tree.map(jnp.add, self, other)

    def compute(self) -> dict[str, float]:
        """Host values by name."""
        fields = ("loss", "token_accuracy", "grad_norm")
        return {name: float(getattr(self, name).compute()) for name in fields}
