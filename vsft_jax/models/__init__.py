"""Models: one folder a family, and the layers they share."""
