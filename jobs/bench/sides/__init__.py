"""The sides of `bench pipeline` and `bench scale`: the files that all read, our own side, and a process for each.

Tests: `ours` and `given_svms` are run by `tests/jobs/bench/peers/test_torch_steps.py` beside what peers make, and as
a whole with `process` and `turns` by the bench itself.
"""
