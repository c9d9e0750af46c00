"""Official benchmarks about text alone."""
