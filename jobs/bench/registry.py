"""The measures of `sppnet bench`, by name."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from sppnet.errors import ConfigError

_MEASURES = {
    "pool": "jobs.bench.pool:run",
    "rcnn": "jobs.bench.rcnn:run",
    "views": "jobs.bench.views:run",
}


def measure_names() -> list[str]:
    """Names of all measures."""
    return sorted(_MEASURES)


def measure(name: str, repeats: int) -> list[dict[str, Any]]:
    """Runs a measure.

    Args:
        name: One of `measure_names()`.
        repeats: Timed repetitions of each side.

    Returns:
        One row a case: the figure, its peer's, and their `ratio`.

    Raises:
        ConfigError: There is no such measure.
    """
    if name not in _MEASURES:
        raise ConfigError(f"no measure '{name}'; there are: {', '.join(measure_names())}")
    module, function = _MEASURES[name].split(":")
    run: Callable[..., list[dict[str, Any]]] = getattr(import_module(module), function)
    return run(repeats=repeats)
