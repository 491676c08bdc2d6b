"""What detection's evaluations found out: AP by detector and category, and how each detector is made (Tables 9, 10)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jobs.report.read.differences import Difference, detection_differences
from jobs.report.read.json_numbers import finite_or_none
from sppnet.errors import ArtifactError
from sppnet.evaluation.coco import FIGURES

KIND = "metrics"
"""Kind of artifact that evaluate steps make."""
_METRICS = {"det": "ILSVRC DET, area", "coco": "COCO, overlaps 0.5 to 0.95"}


@dataclass(frozen=True, slots=True)
class DetectorAccount:
    """How a detector is made and what it took. A union of detectors has several values of what they differ in.

    Attributes:
        features: What the SVMs look at, for a person: `pool5`, `fc7, fine-tuned`, `fc6, as pre-trained`.
        scales: Short sides of the maps that it reads, rising, or the side of R-CNN's crops, in pixels.
        windows: Names of the steps of its windows.
        backbones: Names of the steps of its networks.
        sources: What its windows are pooled from: `maps`, `crops` (R-CNN's way) or both.
        convolution: Worker seconds an image to make the maps that it reads; None without maps, or where their commits
            are gone.
        scoring: Worker seconds an image to score; with crops, their convolutions are part of it. None likewise.
        pooling: What of scoring is for the windows' features: pooling and fc layers, or R-CNN's crops; None likewise.
        svm: What of scoring is for the SVMs; None likewise.
        regresses: Whether scoring includes box regression, whichever of both kinds of boxes the row judges.
    """

    features: tuple[str, ...]
    scales: tuple[int, ...]
    windows: tuple[str, ...]
    backbones: tuple[str, ...]
    sources: tuple[str, ...]
    convolution: float | None
    scoring: float | None
    pooling: float | None = None
    svm: float | None = None
    regresses: bool = False

    @property
    def total(self) -> float | None:
        """Worker seconds an image in all; None where a part of them is not known."""
        if "maps" not in self.sources:
            return self.scoring
        return None if self.convolution is None or self.scoring is None else self.convolution + self.scoring


@dataclass(frozen=True, slots=True)
class CategoryScore:
    """How well one detector finds one category.

    Attributes:
        voc07_ap: 11-point AP of VOC 2007, 0..1; None where the split has no object of the category, or by the rules
            of DET and COCO.
        area_ap: Area under the precision-recall curve, 0..1; None where the split has no object of the category, or by
            COCO's rule.
        positives: Objects to find, difficult ones left out.
        detections: Detections of the category.
        true_positives: How many of them are right.
        operating_score: Score from which detections are drawn: the one of the best F1; None if there is none.
        recall: Points of the curve, rising, 0..1.
        precision: The precision at each of them, 0..1.
        coco: By COCO's rule its twelve figures, 0..1; None where there are no objects of a size.
    """

    voc07_ap: float | None
    area_ap: float | None
    positives: int
    detections: int
    true_positives: int
    operating_score: float | None
    recall: tuple[float, ...] = ()
    precision: tuple[float, ...] = ()
    coco: Mapping[str, float | None] = field(default_factory=dict)

    @property
    def ap(self) -> float | None:
        """The AP that the protocol goes by: VOC's of 11 points, DET's area, COCO's mean; None without objects."""
        if self.coco:
            return self.coco["AP"]
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
        coco: By COCO's rule the means of its twelve figures, 0..1; None likewise.
    """

    name: str
    detections: str
    regressed: bool
    voc07_map: float | None
    area_map: float | None
    categories: Mapping[str, CategoryScore]
    account: DetectorAccount | None = None
    coco: Mapping[str, float | None] = field(default_factory=dict)

    @property
    def mean_ap(self) -> float | None:
        """The mean that the protocol goes by: of VOC's 11-point AP, DET's area AP, or COCO's AP."""
        if self.coco:
            return self.coco["AP"]
        return self.area_map if self.voc07_map is None else self.voc07_map


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What one evaluate step found out.

    Attributes:
        step: The step's name.
        split: The split that was scored.
        rows: Detector variants in the recipe's order.
        protocol: `voc`, `det` or `coco`.
        chosen: Place of the detector that is looked at most closely; None for the one of the best mean AP.
        differences: Of rows' mAP, as the recipe asks for.
    """

    step: str
    split: str
    rows: tuple[DetectorScore, ...]
    protocol: str = "voc"
    chosen: int | None = None
    differences: tuple[Difference, ...] = ()

    @property
    def chosen_place(self) -> int:
        """The place among the rows of the detector that is looked at most closely."""
        if self.chosen is not None:
            return self.chosen
        return max(range(len(self.rows)), key=lambda place: self.rows[place].mean_ap or 0.0, default=0)

    @property
    def chosen_row(self) -> DetectorScore:
        """The detector that is looked at most closely."""
        return self.rows[self.chosen_place]

    @property
    def metric(self) -> str:
        """What the AP is called that the protocol goes by."""
        return _METRICS.get(self.protocol, "VOC 2007 11-point")

    @property
    def categories(self) -> tuple[str, ...]:
        """All categories of any row, in order of appearance."""
        return tuple(dict.fromkeys(name for row in self.rows for name in row.categories))


def read_evaluation(data: bytes, step: str, where: str) -> tuple[Evaluation, float]:
    """Read what an evaluate step wrote, and the overlap from which a detection was right.

    Raises:
        ArtifactError: The bytes are something else; the message names `where`.
    """
    try:
        body = json.loads(data)
        rows = tuple(_detector_score(row) for row in body["rows"])
        protocol, found = str(body.get("protocol", "voc")), detection_differences(body)
        evaluation = Evaluation(step, str(body["split"]), rows, protocol, differences=found)
        return evaluation, float(body.get("iou", 0.5))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(f"{where}: not an evaluation ({type(error).__name__}: {error})") from error


def _detector_score(row: Mapping[str, Any]) -> DetectorScore:
    return DetectorScore(
        name=str(row["name"]),
        detections=str(row["detections"]),
        regressed=row["boxes"] == "regressed",
        voc07_map=finite_or_none(row["voc07_map"]),
        area_map=finite_or_none(row["area_map"]),
        coco=_coco_figures(row),
        categories={str(name): _category_score(score) for name, score in row["categories"].items()},
    )


def _category_score(score: Mapping[str, Any]) -> CategoryScore:
    return CategoryScore(
        voc07_ap=finite_or_none(score["voc07_ap"]),
        area_ap=finite_or_none(score["area_ap"]),
        positives=int(score["positives"]),
        detections=int(score["detections"]),
        true_positives=int(score["true_positives"]),
        operating_score=finite_or_none(score["operating_score"]),
        recall=tuple(map(float, score["recall"])),
        precision=tuple(map(float, score["precision"])),
        coco=_coco_figures(score),
    )


def _coco_figures(entry: Mapping[str, Any]) -> dict[str, float | None]:
    figures = entry.get("coco", {})  # as stored, sorted by name
    return {name: finite_or_none(figures[name]) for name in FIGURES} if figures else {}
