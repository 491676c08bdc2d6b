"""Tests of the drawn data set; `test_shapes` draws every shape of `shapes_made` and `shapes_nature`."""
