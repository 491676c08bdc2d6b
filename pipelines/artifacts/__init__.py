"""What every kind of artifact holds.

Tests: `scores` and `windows_and_maps` share those of every layout, in `tests/pipelines/artifacts/test_layouts.py`;
`statistics` are tried with their stage, in `tests/pipelines/stages/test_statistics.py`; `nonzeros` and its
loops, `nonzeros_numba`, with the codec of maps; `steps_numba` are the loops of rows in steps.
"""
