"""Benchmarks that time: each is a module with a command line."""
