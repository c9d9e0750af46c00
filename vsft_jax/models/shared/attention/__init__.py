"""The one attention function that every layer of every model calls.

In: queries, keys, values and segment ids. Out: `attention`. What the program will run on decides
how it is computed: by tiles inside segments on TPU (`splash`, or
`short_segments`) and CPU (`segments`), else by `whole_rows`.
"""

from vsft_jax.models.shared.attention.attend import IMPLEMENTATIONS, attention

__all__ = ["IMPLEMENTATIONS", "attention"]
