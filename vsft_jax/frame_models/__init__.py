"""Frame models."""
