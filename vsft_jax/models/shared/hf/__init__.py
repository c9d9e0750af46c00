"""Shared weight tables."""
