"""Tests of the page; `contents` holds values only, which every test of `collect` and `render` reads."""
