"""What a `metrics` artifact holds: JSON, a row for each set of detections, with the figures of each category."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from sppnet.arrays import Float64s
from sppnet.evaluation.curves import CategoryResult

UNIT = "metrics"
"""The unit that holds the result."""
CURVE_POINTS = 200
"""At most so many points of a category's curve are kept."""

DetectionProtocol = Literal["voc", "det", "coco"]


def mean_figure(figures: Mapping[str, Mapping[str, Any]], name: str) -> float | None:
    """Return the mean of a figure over the categories that have it; None if none has."""
    values = [entry[name] for entry in figures.values() if entry[name] is not None]
    return round(float(np.mean(values)), 6) if values else None


def category_figures(result: CategoryResult, protocol: DetectionProtocol) -> dict[str, Any]:
    """Return a category's figures as JSON values.

    An average precision without positives is null, as is VOC07's by DET's rule, and both by COCO's.
    """
    points = len(result.recall) if result.positives else 0  # without objects there is no recall
    shown = curve_points(result.recall[:points])
    total = result.precision + result.recall
    harmonic = np.divide(2 * result.precision * result.recall, total, out=np.zeros_like(total), where=total > 0)
    return {
        "voc07_ap": _number(result.voc07_ap) if protocol == "voc" else None,
        "area_ap": _number(result.area_ap) if protocol != "coco" else None,
        "positives": result.positives,
        "detections": result.detections,
        "true_positives": result.true_positives,
        "operating_score": round(float(result.scores[harmonic.argmax()]), 6) if points and harmonic.max() > 0 else None,
        "recall": [round(float(result.recall[i]), 5) for i in shown],
        "precision": [round(float(result.precision[i]), 5) for i in shown],
    }


def coco_figures(figures: Mapping[str, float]) -> dict[str, float | None]:
    """Return COCO's twelve figures as JSON values; null where there are no objects of a size."""
    return {name: _number(value) for name, value in figures.items()}


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 6)


def curve_points(recall: Float64s) -> list[int]:
    """Return the ranks to draw, evenly over the objects: at most `CURVE_POINTS` of those at which one is found."""
    found = np.flatnonzero(np.diff(recall, prepend=0.0) > 0)
    chosen = np.linspace(0, max(len(found) - 1, 0), min(len(found), CURVE_POINTS)).astype(int)
    return [int(rank) for rank in np.unique(found[chosen])]
