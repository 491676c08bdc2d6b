"""What the report shows of classification and of transfer: figures by network and views, classes, confusions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


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
        rows: In the order of the recipe; the last is looked at most closely.
    """

    step: str
    split: str
    per_class: str
    subject: str
    members: str
    rows: tuple[ClassRow, ...]

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the figures that some row has."""
        return tuple(name for name in METRICS if any(name in row.figures for row in self.rows))

    @property
    def names(self) -> tuple[str, ...]:
        """The networks or features, in order."""
        return tuple(dict.fromkeys(row.name for row in self.rows))

    @property
    def views(self) -> tuple[str, ...]:
        """The sets of views, in order."""
        return tuple(dict.fromkeys(row.views for row in self.rows))
