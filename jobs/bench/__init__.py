"""Benchmarks: one file per measure, each beside its peer on the same inputs in the same run."""
