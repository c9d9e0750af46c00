"""Pictures and clips that nobody made for this: animated emoji and easy-vqa, from public packages,
as training annotations and benchmarks. docs/emoji_world.md describes it.

`packages` fetches, `assets` decodes, `cast` says who is kept for evaluation; `scenes`, `questions`
and `drawing` make pictures and clips with certain answers of them; `generate` puts them together.
"""

from emoji_world.generate import generate_emoji_world
from emoji_world.packages import REGISTRIES, PackageError, Pins

__all__ = ["REGISTRIES", "PackageError", "Pins", "generate_emoji_world"]
