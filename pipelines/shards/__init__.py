"""A shard at work: its images, windows and maps side by side, the account of its keys, and reading ahead.

Tests: `map_sources` are tried with the images that they are joined to, by `test_windowed.py` here and by
`tests/pipelines/stages/test_crops.py`; `writing` makes what the tests of all stages read.
"""
