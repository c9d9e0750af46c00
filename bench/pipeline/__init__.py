"""From files to batches, against a PyTorch DataLoader: `python -m bench.pipeline`."""
