"""Parameters in, a folder of files out: a small synthetic world of images and clips, for demos and
tests, with annotations in LLaVA's format and a tokenizer. docs/demo_world.md describes it.

A seed decides everything. Scenes are sampled, asked about, drawn and encoded, in this order:
`*_scenes`, `*_questions`, `rendering`, `encoding`; `generate` puts them together.
"""

from demo_world.generate import WorldPaths, generate_world
from demo_world.tokenizer import write_tokenizer

__all__ = ["WorldPaths", "generate_world", "write_tokenizer"]
