"""Tests of `jobs`, a file for each module; `__main__` is two lines that `tests/e2e` starts as a process."""
