"""What every kind of artifact holds.

Tests: `scores` and `windows_and_maps` share those of every layout, in `tests/pipelines/artifacts/test_layouts.py`;
`nonzeros` are tried by what stores them, in `test_map_codec.py` and `test_vectors.py` there; `statistics` with their
stage, in `tests/pipelines/stages/test_statistics.py`.
"""
