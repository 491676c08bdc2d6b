"""Functions compiled by numba, alike for every kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

_Function = TypeVar("_Function", bound=Callable[..., Any])


def compiled(**options: Any) -> Callable[[_Function], _Function]:
    """Compile a function by numba, GIL released, cached on disk where a folder is writable.

    Division follows numpy, not Python: by zero it gives an infinity or not a number, and costs no branch.

    Args:
        **options: of `numba.njit`, such as `fastmath`.
    """

    def compile_function(function: _Function) -> _Function:
        wanted = {"nogil": True, "error_model": "numpy", **options}
        try:
            return cast("_Function", njit(cache=True, **wanted)(function))
        except RuntimeError:  # numba finds no writable folder for its cache: compile once per process
            return cast("_Function", njit(**wanted)(function))

    return compile_function
