"""A training step against transformers', pair by pair: `python -m bench.train_step`.

`mixed_row` has the work, `ours` and `theirs` do it.
"""

from bench.decode.methods import declare_torchvision_operators

declare_torchvision_operators()  # transformers' models import torchvision
