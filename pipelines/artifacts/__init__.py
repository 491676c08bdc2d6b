"""What every kind of artifact holds.

Tests: `scores` and `windows_and_maps` share those of every layout, in `tests/pipelines/artifacts/test_layouts.py`.
"""
