"""Where every pixel and token of an example goes, from metadata alone.

In: what was probed of each medium, its frames, and a model family's rules. Out: an `ExampleLayout`
that fits into a row, and at decode time the patches, indices and positions that it says. Families
build their rules (vsft_jax/models/<family>/layout.py) on `DynamicResolution`, `FixedResolution` or
`AnyRes`.
"""

from input_pipeline.layout.dynamic_resolution import DynamicResolution
from input_pipeline.layout.fixed_resolution import AnyRes, FixedResolution
from input_pipeline.layout.ladder import TooLong, layout_example
from input_pipeline.layout.positions import expand_text
from input_pipeline.layout.vision_layout import (
    NEWLINE,
    ExampleLayout,
    LayoutError,
    MediaLayout,
    PatchIndices,
    TokenBlock,
    VisionLayout,
)

__all__ = [
    "NEWLINE",
    "AnyRes",
    "DynamicResolution",
    "ExampleLayout",
    "FixedResolution",
    "LayoutError",
    "MediaLayout",
    "PatchIndices",
    "TokenBlock",
    "TooLong",
    "VisionLayout",
    "expand_text",
    "layout_example",
]
