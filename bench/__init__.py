"""Benchmarks that time, each a module with a command line: decode, fill, pipeline.

They compare with other libraries on the same work in the same run: docs/performance.md has results.
"""
