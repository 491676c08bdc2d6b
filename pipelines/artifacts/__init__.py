"""What every kind of artifact holds.

Tests: `scores` and `windows_and_maps` share those of every layout, in `tests/pipelines/artifacts/test_layouts.py`;
`statistics` are tried with their stage, in `tests/pipelines/stages/test_statistics.py`; `nonzeros` with the
codec of maps, as are the kernels of `nonzeros_numba`; those of `steps_numba` with stepped rows.
"""
