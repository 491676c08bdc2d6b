"""SPP-net (He et al., TPAMI 2015): the method. Needs torch and numpy; knows neither Ray nor storage.

Every module has a test file of its name, but for `arrays` (names only) and `boxes_numba` (the loop that the tests of
`boxes` run).
"""

__version__ = "0.1.0"
