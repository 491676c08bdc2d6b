"""The parts of a `class-metrics` row: figures with their spread, and the confusions that occur, as JSON values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sppnet.evaluation.classification import ClassResult, spread

UNIT = "metrics"
"""The unit of a `class-metrics` artifact that holds its rows."""
_DIGITS = 6


def rounded(value: float | None) -> float | None:
    """Return a figure as it is stored."""
    return None if value is None else round(value, _DIGITS)


def figures_body(found: Mapping[str, Sequence[float | None]]) -> dict[str, dict[str, float | None]]:
    """Return the mean, and deviation or null, of each figure that all members have.

    Args:
        found: By the figure's name, its value for each member.
    """
    spreads = {name: spread(values) for name, values in found.items()}
    return {
        name: {"mean": rounded(figure.mean), "deviation": rounded(figure.deviation)}
        for name, figure in spreads.items()
        if figure is not None
    }


def confusions_body(result: ClassResult) -> dict[str, Any]:
    """Return the labels, and `[class, taken for, images]` of entries that are not zero: a thousand classes have few."""
    truth, taken = np.nonzero(result.confusion)
    entries = np.stack([truth, taken, result.confusion[truth, taken]], axis=1)
    return {"labels": list(result.labels), "confusion": entries.tolist()}
