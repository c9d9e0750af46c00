"""transformers' side of the families: reading config.json, and tables of a checkpoint's tensors."""
