"""The measures of `sppnet bench`, by name."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from inspect import signature
from typing import Any

from sppnet.errors import ConfigError

_MEASURES = {
    "convolve": "jobs.bench.convolve:run",
    "driver": "jobs.bench.driver:run",
    "extract": "jobs.bench.extract:run",
    "gpu": "jobs.bench.gpu.runner:run",
    "maps": "jobs.bench.maps:run",
    "mine": "jobs.bench.mine:run",
    "pipeline": "jobs.bench.pipeline:run",
    "pool": "jobs.bench.pool:run",
    "pretrain": "jobs.bench.pretrain:run",
    "proposals": "jobs.bench.proposals:run",
    "rcnn": "jobs.bench.rcnn:run",
    "scale": "jobs.bench.scale:run",
    "views": "jobs.bench.views:run",
}


def measure_names() -> list[str]:
    """Return the names of all measures."""
    return sorted(_MEASURES)


def measure(name: str, **options: Any) -> list[dict[str, Any]]:
    """Run a measure.

    Args:
        name: One of `measure_names()`.
        **options: Arguments of the measure, such as `repeats` and `device`; one that is None has its default.

    Returns:
        One row a case: the figure, its peer's, and their `ratio`.

    Raises:
        ConfigError: There is no such measure, or it has no such option.
    """
    if name not in _MEASURES:
        raise ConfigError(f"no measure '{name}'; there are: {', '.join(measure_names())}")
    module, function = _MEASURES[name].split(":")
    run: Callable[..., list[dict[str, Any]]] = getattr(import_module(module), function)
    given = {option: value for option, value in options.items() if value is not None}
    known = signature(run).parameters
    for option in given:
        if option not in known:
            raise ConfigError(f"bench {name}: no option '{option}'; there are: {', '.join(known)}")
    return run(**given)
