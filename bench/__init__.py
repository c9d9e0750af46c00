"""Benchmarks that time, each a module with a command line: decode, fill, pipeline.

In: other libraries on the same work in the same run. Out: a table for docs/performance.md. Nothing
imports from here.
"""
