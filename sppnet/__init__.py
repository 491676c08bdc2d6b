"""SPP-net (He et al., TPAMI 2015): the method. Knows neither Ray nor storage.

`sppnet.load(FILE)` loads a trained detector, see `sppnet.bundle.model`.

Tests: `arrays` are names only; `boxes_numba` is the loop that the tests of boxes run, `vector_code` what
kernels with tests of their own are written in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sppnet.bundle.model import Model, load

__all__ = ["Model", "load"]

__version__: str


def __getattr__(name: str) -> object:
    """Return `__version__`, which pyproject.toml alone states, as the installed package tells it, `load` or `Model`.

    Raises:
        AttributeError: Another name is asked for.
    """
    if name in ("Model", "load"):  # not before it is asked for: it takes torch along
        from sppnet.bundle import model

        return getattr(model, name)
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("sppnet")
    except PackageNotFoundError:
        return "0+unknown"  # a checkout that is not installed
