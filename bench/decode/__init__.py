"""Frames of clips, against other decoders: `python -m bench.decode`."""
