"""A small synthetic world of images and clips, made by a program, for demos and tests."""

from demo_world.generate import WorldPaths, generate_world

__all__ = ["WorldPaths", "generate_world"]
