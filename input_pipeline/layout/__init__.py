"""Where every pixel and token of an example goes, from metadata alone.

In: what was probed of each medium, its frames, and a model family's rules. Out: an `ExampleLayout`
that fits into a row, and at decode time the patches, indices and positions that it says.
"""

from input_pipeline.layout.example_layout import (
    NEWLINE,
    ExampleLayout,
    LayoutError,
    MediaLayout,
    PatchIndices,
    TokenBlock,
    TooLong,
    VisionLayout,
    layout_example,
)
from input_pipeline.layout.positions import expand_text

__all__ = [
    "NEWLINE",
    "ExampleLayout",
    "LayoutError",
    "MediaLayout",
    "PatchIndices",
    "TokenBlock",
    "TooLong",
    "VisionLayout",
    "expand_text",
    "layout_example",
]
