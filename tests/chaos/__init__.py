"""Chaos: runs on real processes that are disturbed in every way that is known here, and what they leave.

`make chaos SECONDS=600 SEED=1`, or `python -m tests.chaos --help`. Everything that is random comes from the seed and
the trial's number; when something happens in a process that others share a machine with does not.
"""
