"""Values that several tests of the report show, and how they read its plots."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from jobs.report.read.classification import ClassRow, Figure
from jobs.report.read.detection import CategoryScore, DetectorScore
from jobs.report.read.recall import RecallCurve, RecallRow

RECALL_IOUS = (0.5, 0.6, 0.7)
CLASS_LABELS = ("tench", "church", "<i>gas</i> pump")
CLASS_CONFUSION = ((0, 0, 8), (0, 1, 2), (1, 0, 1), (1, 1, 6), (1, 2, 3))


def recall_row(
    name: str, mean: float | None, *points: tuple[int | None, tuple[float, ...], float], **fields
) -> RecallRow:
    curves = tuple(RecallCurve(*point) for point in points)
    categories = {"cat": (7, 0.25), "<i>dog": (5, points[-1][2] if points else None)}
    return replace(RecallRow(name, "", 4, mean, 12 if points else 0, curves, categories), **fields)


def line_points(svg: str, series: int) -> list[tuple[float, float]]:
    """The points of a line, in the SVG's own units."""
    paths = re.findall(rf'<path d="([^"]+)"[^>]*style="[^"]*stroke: var\(--s{series}\)[^"]*stroke-width: 1.6', svg)
    assert len(paths) <= 1
    return [(float(x), float(y)) for x, y in re.findall(r"[ML] (\S+) (\S+)", paths[0])] if paths else []


def ap_curve(ap: float | None, points: int = 50) -> CategoryScore:
    if ap is None:
        return CategoryScore(None, None, 0, 3, 0, None)
    recall = np.linspace(0.02, ap, points)
    return CategoryScore(ap, ap + 0.0123, 40, 90, 31, 0.25, tuple(recall), tuple(1 - recall**2 / 2))


def detector_score(name: str, aps: Mapping[str, float | None], mean: float) -> DetectorScore:
    return DetectorScore(name, "detections-1", False, mean, mean + 0.01, {k: ap_curve(v) for k, v in aps.items()})


def class_row(name: str, views: str, top1: float, deviation: float | None = None, **fields) -> ClassRow:
    classes = dict(zip(CLASS_LABELS, (0.8, 0.6, None), strict=True))
    found = {"top1_error": Figure(top1, deviation), "top5_error": Figure(top1 / 4, deviation)}
    return ClassRow(**{
        "name": name, "views": views, "figures": found, "images": 20, "members": 3 if deviation else 1,
        "classes": classes, "labels": CLASS_LABELS, "confusion": CLASS_CONFUSION, **fields,
    })  # fmt: skip
