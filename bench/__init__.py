"""Benchmarks that time, each a command line: batches, decode, fill, pipeline, prepare, …

In: other libraries on the same work in the same run, or one way of working against another. Out: a
table for docs/performance.md. Nothing imports from here.
"""
