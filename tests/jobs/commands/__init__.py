"""Tests of the commands' own work; `apply` and `export` only pass options on and are typed in the tests of those rooms."""
