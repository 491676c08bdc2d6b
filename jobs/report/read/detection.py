"""What detection's evaluations found out, as the report shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jobs.report.read.detector_model import DetectorAccount


@dataclass(frozen=True, slots=True)
class CategoryScore:
    """How well one detector finds one category.

    Attributes:
        voc07_ap: 11-point AP of VOC 2007, 0..1; None where the split has no object of the category, or by DET's rule.
        area_ap: Area under the precision-recall curve, 0..1; None where the split has no object of the category.
        positives: Objects to find, difficult ones left out.
        detections: Detections of the category.
        true_positives: How many of them are right.
        operating_score: Score from which detections are drawn: the one of the best F1; None if there is none.
        recall: Points of the curve, rising, 0..1.
        precision: The precision at each of them, 0..1.
    """

    voc07_ap: float | None
    area_ap: float | None
    positives: int
    detections: int
    true_positives: int
    operating_score: float | None
    recall: tuple[float, ...] = ()
    precision: tuple[float, ...] = ()

    @property
    def ap(self) -> float | None:
        """The AP that the protocol goes by: VOC's of 11 points, or ILSVRC DET's area; None without objects."""
        return self.area_ap if self.voc07_ap is None else self.voc07_ap


@dataclass(frozen=True, slots=True)
class DetectorScore:
    """One detector variant, a "step of the head": its row of the tables.

    Attributes:
        name: Such as `fc7, 5 scales`.
        detections: Name of its detections artifact.
        regressed: Whether the boxes are those after box regression.
        voc07_map: Mean of the categories' 11-point AP, 0..1; None without any.
        area_map: Mean of their area AP; None without any.
        categories: Scores by category, in the data set's order.
        account: How it is made and what an image costs; None if that isn't known.
    """

    name: str
    detections: str
    regressed: bool
    voc07_map: float | None
    area_map: float | None
    categories: Mapping[str, CategoryScore]
    account: DetectorAccount | None = None

    @property
    def mean_ap(self) -> float | None:
        """The mean that the protocol goes by: of VOC's 11-point AP, or of ILSVRC DET's area AP."""
        return self.area_map if self.voc07_map is None else self.voc07_map


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What one evaluate step found out.

    Attributes:
        step: The step's name.
        split: The split that was scored.
        rows: Detector variants in the recipe's order; the last one is the final detector.
        protocol: `voc` or `det`.
    """

    step: str
    split: str
    rows: tuple[DetectorScore, ...]
    protocol: str = "voc"

    @property
    def metric(self) -> str:
        """What the AP is called that the protocol goes by."""
        return "ILSVRC DET, area" if self.protocol == "det" else "VOC 2007 11-point"

    @property
    def categories(self) -> tuple[str, ...]:
        """All categories of any row, in order of appearance."""
        return tuple(dict.fromkeys(name for row in self.rows for name in row.categories))
