"""Benchmarks about pictures, a module each."""
