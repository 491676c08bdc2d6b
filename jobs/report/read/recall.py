"""What the report shows of proposals: how many objects the windows of each step overlap."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


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
