"""What was found out about proposals: how many objects the windows of each step overlap."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jobs.report.read.json_numbers import finite
from sppnet.errors import ArtifactError

KIND = "recall"
"""Kind of artifact that recall steps make."""


@dataclass(frozen=True, slots=True)
class RecallCurve:
    """Recall of some of the first windows of every image.

    Attributes:
        windows: How many of an image's first windows were looked at; None for all of them.
        recall: Share of the objects that one of them overlaps by at least each IoU, 0..1.
        average_recall: Its mean over IoU from 0.5 to 1, 0..1.
    """

    windows: int | None
    recall: tuple[float, ...]
    average_recall: float


@dataclass(frozen=True, slots=True)
class RecallRow:
    """The windows of one step.

    Attributes:
        name: The step's name.
        method: How it finds windows, for a person; empty if that isn't known.
        images: Images that have windows.
        windows_per_image: Their mean number; None without images.
        objects: Objects that were looked for, difficult ones left out.
        curves: By number of windows, all of them last; empty without objects.
        categories: The objects of each category, and the average recall of all windows on them; None without objects.
    """

    name: str
    method: str
    images: int
    windows_per_image: float | None
    objects: int
    curves: tuple[RecallCurve, ...]
    categories: Mapping[str, tuple[int, float | None]]

    @property
    def whole(self) -> RecallCurve | None:
        """Recall of all windows; None without objects."""
        return next((curve for curve in self.curves if curve.windows is None), None)


@dataclass(frozen=True, slots=True)
class RecallEvaluation:
    """What one recall step found out.

    Attributes:
        step: The step's name.
        split: The split whose objects were looked for.
        images: Its images.
        difficult: Difficult objects, which were left out.
        ious: The overlaps of the curves' recall, rising.
        rows: A row per step of windows, in the recipe's order.
    """

    step: str
    split: str
    images: int
    difficult: int
    ious: tuple[float, ...]
    rows: tuple[RecallRow, ...]

    @property
    def categories(self) -> tuple[str, ...]:
        """All categories of any row, in order of appearance."""
        return tuple(dict.fromkeys(name for row in self.rows for name in row.categories))


def read_recall(data: bytes, step: str, methods: Mapping[str, str], where: str) -> RecallEvaluation:
    """Read what a recall step wrote.

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
    """Tell how windows were found, for a person, from what their artifact says that it was made from.

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
