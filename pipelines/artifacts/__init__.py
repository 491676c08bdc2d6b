"""What every kind of artifact holds.

Tests: `scores` and `windows_and_maps` share those of every layout, in `tests/pipelines/artifacts/test_layouts.py`;
`activations`, `metrics`, `recall` and `statistics` are read back by the tests of the stages that write them.
"""
