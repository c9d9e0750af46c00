"""Scores models on benchmarks and reports what video fine-tuning gains and costs."""
