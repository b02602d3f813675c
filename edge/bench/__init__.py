"""Benchmarks of models, stages and pipeline steps, and comparison of their reports."""
