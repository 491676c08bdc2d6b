"""Reads `recall` artifacts into what the report shows, and tells how a step found its windows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from jobs.report.read.json_numbers import finite
from jobs.report.read.recall import RecallCurve, RecallEvaluation, RecallRow
from sppnet.errors import ArtifactError


def read_recall(data: bytes, step: str, methods: Mapping[str, str], where: str) -> RecallEvaluation:
    """Reads what a recall step wrote.

    Args:
        data: The bytes.
        step: The step's name.
        methods: How windows were found, by the name of their artifact.
        where: What the bytes are, for the error's message.

    Raises:
        ArtifactError: The bytes are something else.
    """
    try:
        body = json.loads(data)
        ious = tuple(map(finite, body["ious"]))
        order = sorted(range(len(ious)), key=lambda place: ious[place])  # as given, they may be in any order
        return RecallEvaluation(
            step=step,
            split=str(body["split"]),
            images=int(body["images"]),
            difficult=int(body["difficult"]),
            ious=tuple(ious[place] for place in order),
            rows=tuple(_row(row, methods, order) for row in body["rows"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise ArtifactError(f"{where}: not recall ({type(error).__name__}: {error})") from error


def _row(row: Mapping[str, Any], methods: Mapping[str, str], order: list[int]) -> RecallRow:
    per_image = row["windows_per_image"]
    categories = {}
    for name, found in row["categories"].items():
        whole = next((curve for curve in _curves(found["curves"], order) if curve.windows is None), None)
        categories[str(name)] = (int(found["objects"]), whole.average_recall if whole else None)
    return RecallRow(
        name=str(row["name"]),
        method=methods.get(str(row["windows"]), ""),
        images=int(row["images_with_windows"]),
        windows_per_image=None if per_image is None else finite(per_image),
        objects=int(row["objects"]),
        curves=_curves(row["curves"], order),
        categories=categories,
    )


def _curves(curves: list[Mapping[str, Any]], order: list[int]) -> tuple[RecallCurve, ...]:
    return tuple(
        RecallCurve(
            windows=None if curve["windows"] is None else int(curve["windows"]),
            recall=tuple(finite(curve["recall"][place]) for place in order),
            average_recall=finite(curve["average_recall"]),
        )
        for curve in curves
    )


def windows_method(preimage: Mapping[str, Any]) -> str:
    """How windows were found, for a person, from what their artifact says that it was made from.

    EdgeBoxes names its edges: on gradients it is a weaker method than the published one, on structured edges.
    """
    config = preimage.get("config", {})
    limit = config.get("max_windows")
    methods = config.get("methods", ())
    edges = config.get("edge_boxes", {}).get("edges", "unknown")
    names = {"selective-search": "selective search", "edge-boxes": f"EdgeBoxes on {edges} edges"}
    found = " and ".join(names.get(method, str(method)) for method in methods)
    if preimage.get("stage") == "import-windows":
        found = "imported"
    if limit is None:
        return found
    return f"{found}, at most {limit:,}{' each' if len(methods) > 1 else ''}"
