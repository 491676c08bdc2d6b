"""The sides of `bench pipeline` and `bench scale`: the files that all read, our own side, and a process for each.

Tests: `ours` and `given_svms` are run by `tests/jobs/bench/peers/test_torch_steps.py` beside what peers make, `process`
by `test_turns.py`.
"""
