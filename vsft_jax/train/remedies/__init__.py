"""What keeps the skills of the model that training starts from: options of a training step.

settings.py    `Remedies`: config.remedy, checked
projection.py  the clips' gradient without what would undo pictures (one-sided PCGrad)
pull.py        a pull back to the start, evenly (L2) or by importance (EWC)
fisher.py      how important each parameter is to a set of pictures, for EWC
distill.py     pictures learn from the start's answers, not from their own

Others need no code here: learning rates, `data.replay`, `train.only`, LoRA with its evaluation
scale, and interpolation with the start (vsft_jax/inference/interpolate.py). docs/training.md
compares them.
"""

from vsft_jax.train.remedies.distill import distill_loss
from vsft_jax.train.remedies.projection import one_sided
from vsft_jax.train.remedies.pull import pull_to_start, start_of
from vsft_jax.train.remedies.settings import Remedies

__all__ = [
    "Remedies",
    "distill_loss",
    "one_sided",
    "pull_to_start",
    "start_of",
]
