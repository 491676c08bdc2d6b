"""SPP-net (He et al., TPAMI 2015): the method. Needs torch and numpy; knows neither Ray nor storage.

Tests: `arrays` are names only; `boxes_numba` is the loop that the tests of boxes run.
"""

from __future__ import annotations


def __getattr__(name: str) -> str:
    """Return `__version__`, which pyproject.toml alone states, as the installed package tells it.

    Raises:
        AttributeError: Another name is asked for.
    """
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("sppnet")
    except PackageNotFoundError:
        return "0+unknown"  # a checkout that is not installed
