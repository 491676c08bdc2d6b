"""Tests of the commands' own work; `apply` and `export` only pass options on, and are typed in those rooms' tests."""
