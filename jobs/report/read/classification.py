"""What classification and transfer found out: figures by network and views, classes, confusions."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jobs.report.read.differences import Difference, class_differences
from jobs.report.read.json_numbers import finite
from sppnet.errors import ArtifactError

KIND = "class-metrics"
"""Kind of artifact that steps that judge classes make."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure, 0..1.

    Attributes:
        mean: The figure, or its mean over several networks or splits.
        deviation: Their standard deviation; None for a single one.
    """

    mean: float
    deviation: float | None = None


@dataclass(frozen=True, slots=True)
class Metric:
    """What a figure is.

    Attributes:
        title: As a table's heading.
        lower_is_better: Whether it is an error.
    """

    title: str
    lower_is_better: bool = False


METRICS: Mapping[str, Metric] = {
    "top1_error": Metric("top-1 error", lower_is_better=True),
    "top5_error": Metric("top-5 error", lower_is_better=True),
    "mean_accuracy": Metric("mean accuracy of the classes"),
    "voc07_map": Metric("mAP, VOC 2007 11-point"),
}
"""The figures that the report knows, in the order in which it shows them."""


@dataclass(frozen=True, slots=True)
class ClassRow:
    """One network (or ensemble, group of seeds, or feature) under one set of views.

    Attributes:
        name: Of the network or feature.
        views: Of the set of views.
        figures: By a name of `METRICS`.
        images: Images that were judged.
        members: Networks or splits that the figures are means over.
        classes: Accuracy (or AP) of each class, 0..1; None without images of it.
        labels: The classes of the confusion matrix, in its order; empty without one.
        confusion: Its entries that are not zero: class, class that it was taken for (both as places in `labels`),
            images.
    """

    name: str
    views: str
    figures: Mapping[str, Figure]
    images: int
    members: int
    classes: Mapping[str, float | None]
    labels: tuple[str, ...] = ()
    confusion: tuple[tuple[int, int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class ClassEvaluation:
    """What one step found out about classes.

    Attributes:
        step: The step's name.
        split: What was judged, for a person.
        per_class: What the rows' `classes` are: `accuracy` or `AP`.
        subject: What a row is: `network` or `features`.
        members: What the means are over: `networks` or `splits`.
        rows: In the order of the recipe; the best is looked at most closely.
        differences: Of rows' top-1 errors, as the recipe asks for.
    """

    step: str
    split: str
    per_class: str
    subject: str
    members: str
    rows: tuple[ClassRow, ...]
    differences: tuple[Difference, ...] = ()

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the figures that some row has."""
        return tuple(name for name in METRICS if any(name in row.figures for row in self.rows))

    @property
    def ranked(self) -> tuple[ClassRow, ...]:
        """The rows by the first figure that there is, the best first, later ones before equal ones."""
        metric = next(iter(self.metrics), None)
        if metric is None:
            return tuple(reversed(self.rows))
        sign = 1 if METRICS[metric].lower_is_better else -1

        def place(row: ClassRow) -> float:
            return sign * row.figures[metric].mean if metric in row.figures else math.inf

        latest_first = self.rows[::-1]
        return tuple(sorted(latest_first, key=place))

    @property
    def names(self) -> tuple[str, ...]:
        """The networks or features, in order."""
        return tuple(dict.fromkeys(row.name for row in self.rows))

    @property
    def views(self) -> tuple[str, ...]:
        """The sets of views, in order."""
        return tuple(dict.fromkeys(row.views for row in self.rows))


_CLASSIFICATION = ("top1_error", "top5_error")
_TRANSFER = {"voc07": ("voc07_map",), "caltech101": ("mean_accuracy",)}
"""The figures that each protocol is told by; the artifact has more."""


def read_class_evaluation(data: bytes, step: str, where: str) -> ClassEvaluation:
    """Read what a step that judges classes wrote.

    Args:
        data: The bytes.
        step: The step's name.
        where: What the bytes are, for the error's message.

    Raises:
        ArtifactError: The bytes are something else.
    """
    try:
        body = json.loads(data)
        protocol = body.get("protocol")
        figures = _TRANSFER[protocol] if protocol else _CLASSIFICATION
        return ClassEvaluation(
            step=step,
            split=str(body["split"]),
            per_class="AP" if protocol == "voc07" else "accuracy",
            subject="features" if protocol else "network",
            members="splits" if protocol else "networks",
            rows=tuple(_row(row, figures) for row in body["rows"]),
            differences=class_differences(body),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(f"{where}: not class metrics ({type(error).__name__}: {error})") from error


def _row(row: Mapping[str, Any], figures: tuple[str, ...]) -> ClassRow:
    labels = tuple(map(str, row.get("labels", ())))
    entries = tuple((int(truth), int(taken), int(images)) for truth, taken, images in row.get("confusion", ()))
    if not all(0 <= place < len(labels) for entry in entries for place in entry[:2]):
        raise ValueError("a confusion of a class that is not among the labels")
    return ClassRow(
        name=str(row["name"]),
        views=str(row["views"]),
        figures={name: _figure(row["figures"][name]) for name in figures if name in row["figures"]},
        images=int(row["images"]),
        # An ensemble is one classifier, however many networks it averages: nothing varies.
        members=1 if row.get("kind") == "ensemble" else max(1, len(row["members"])),
        classes={str(name): None if value is None else finite(value) for name, value in row["classes"].items()},
        labels=labels,
        confusion=entries,
    )


def _figure(figure: Mapping[str, Any]) -> Figure:
    deviation = figure["deviation"]
    return Figure(finite(figure["mean"]), None if deviation is None else finite(deviation))
