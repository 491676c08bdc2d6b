"""What every kind of artifact holds.

Tests: `scores` and `windows_and_maps` share those of every layout, in `tests/pipelines/artifacts/test_layouts.py`;
`nonzeros` are tried by `map_codec` and `vectors`; `statistics` with their stage, in
`tests/pipelines/stages/test_statistics.py`.
"""
