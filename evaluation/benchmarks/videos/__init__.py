"""Benchmarks about clips, a module each."""
