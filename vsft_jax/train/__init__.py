"""Training: optimiser, sharding, step, checkpoints, metrics and the loop that joins them."""
