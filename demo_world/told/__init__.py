"""Pictures that are told in words and never drawn: what the world has of text alone.

The same scenes and questions as of pictures, read and not seen; and texts of several such scenes,
which a model writes in training and which are held back from it in evaluation.
"""

from demo_world.told.records import text_records

__all__ = ["text_records"]
