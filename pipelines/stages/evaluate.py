"""evaluate: average precision per category for one or several sets of detections (VOC's protocols)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from pipelines.detectors import FeatureInfo
from pipelines.fingerprint import canonical_json
from pipelines.manifest import Manifest
from pipelines.schemas import DetectionRow, decode_detections
from pipelines.shards import read_images
from pipelines.stage import Input, Phase, Stage, StageConfig, require_subset
from pipelines.workspace import Artifact, Output
from sppnet.boxes import nms
from sppnet.errors import ConfigError
from sppnet.evaluation.curves import CategoryResult, Detections, GroundTruth
from sppnet.evaluation.voc import evaluate_voc

UNIT = "metrics"
CURVE_POINTS = 200


class EvaluateConfig(StageConfig):
    """Config of `evaluate`.

    Attributes:
        images: The step that ingests, for the annotations.
        detections: The steps that score; one row of the result each, a second one where boxes were regressed.
        split: The split that was scored.
        iou: Overlap from which a detection is right.
        nms_iou: Regressed boxes are suppressed once more at this overlap, as in the release.
    """

    stage: Literal["evaluate"]
    images: Annotated[str, Input(("images",))]
    detections: Annotated[tuple[str, ...], Input(("detections",)), Field(min_length=1)]
    split: str = "val"
    iou: Annotated[float, Field(gt=0, le=1)] = 0.5
    nms_iou: Annotated[float, Field(gt=0, le=1)] = 0.3


class Evaluate(Stage[EvaluateConfig]):
    """Writes one JSON object: rows of mean and per-category figures with their curves."""

    name: ClassVar[str] = "evaluate"
    makes: ClassVar[str] = "metrics"
    config_type: ClassVar[type[StageConfig]] = EvaluateConfig

    @classmethod
    def check(cls, config: EvaluateConfig, inputs: Mapping[str, tuple[StageConfig, ...]]) -> None:
        """The split must have been scored, in the same images."""
        detections: Any = inputs["detections"]
        for step, scored in zip(config.detections, detections, strict=True):
            require_subset((config.split,), scored.splits, "split", "split")
            if scored.images != config.images:
                raise ConfigError(
                    f"detections: '{step}' scored the images of step '{scored.images}', not those of '{config.images}'"
                )

    @classmethod
    def external(cls, config: EvaluateConfig) -> Mapping[str, Any]:
        """The names of the steps: rows are called after them."""
        return {"names": list(config.detections)}

    @cached_property
    def _units(self) -> tuple[str, ...]:
        return Manifest.read(self.input("images")).units(self.config.split)

    def phases(self) -> list[Phase]:
        """One unit."""
        Manifest.read(self.input("images"))  # so that status knows when there is nothing to evaluate yet
        return [Phase("evaluate", (UNIT,), keyed=False)]

    def run(self, unit: str) -> Output:
        """Evaluates every set of detections against the same annotations."""
        truth = self._ground_truth()
        rows: list[dict[str, Any]] = []
        for step, artifact in zip(self.config.detections, self.inputs("detections"), strict=True):
            rows.extend(self._rows(step, artifact, truth))
        body = {"split": self.config.split, "iou": self.config.iou, "rows": rows}
        return Output(canonical_json(body).encode(), ".json", len(rows), 0)

    def _ground_truth(self) -> dict[str, GroundTruth]:
        keys: dict[str, list[str]] = {}
        boxes: dict[str, list[tuple[float, ...]]] = {}
        difficult: dict[str, list[bool]] = {}
        for unit in self._units:
            for record in read_images(self.input("images"), unit)[0]:
                for found in record.annotation.objects:
                    keys.setdefault(found.category, []).append(record.key)
                    boxes.setdefault(found.category, []).append(found.box)
                    difficult.setdefault(found.category, []).append(found.difficult)
        return {category: GroundTruth.of(keys[category], boxes[category], difficult[category]) for category in keys}

    def _rows(self, step: str, artifact: Artifact, truth: Mapping[str, GroundTruth]) -> Iterator[dict[str, Any]]:
        found: dict[str, list[DetectionRow]] = {}
        regressed = False
        for unit in self._units:
            for row in decode_detections(artifact.read(unit), f"{artifact.name}/{unit}"):
                found.setdefault(row.category, []).append(row)
                regressed |= row.regressed is not None
        categories = _categories(artifact)
        for kind in ("windows", "regressed") if regressed else ("windows",):
            figures = {}
            for category in categories:
                detections = self._detections(found.get(category, []), kind)
                objects = truth.get(category) or GroundTruth.of([], [], [])
                figures[category] = _figures(evaluate_voc(objects, detections, self.config.iou))
            yield {
                "name": step if kind == "windows" else f"{step}+bb",
                "detections": artifact.name,
                "boxes": kind,
                "voc07_map": _mean(figures, "voc07_ap"),
                "area_map": _mean(figures, "area_ap"),
                "categories": figures,
            }

    def _detections(self, rows: Sequence[DetectionRow], kind: str) -> Detections:
        boxes = np.array([row.box if kind == "windows" else row.regressed or row.box for row in rows]).reshape(-1, 4)
        scores = np.array([row.score for row in rows], dtype=np.float64)
        keys = [row.key for row in rows]
        if kind == "regressed":
            kept = _suppressed(keys, boxes, scores, self.config.nms_iou)
            boxes, scores, keys = boxes[kept], scores[kept], [keys[i] for i in kept]
        return Detections.of(keys, boxes, scores)


def _suppressed(
    keys: Sequence[str], boxes: npt.NDArray[np.float64], scores: npt.NDArray[np.float64], iou: float
) -> npt.NDArray[np.int64]:
    by_image: dict[str, list[int]] = {}
    for row, key in enumerate(keys):
        by_image.setdefault(key, []).append(row)
    kept = [np.asarray(rows)[nms(boxes[rows], scores[rows], iou)] for rows in by_image.values()]
    return np.sort(np.concatenate(kept)) if kept else np.zeros(0, dtype=np.int64)


def _categories(detections: Artifact) -> tuple[str, ...]:
    """The categories that were scored, found or not, from the SVMs that the detections were made with."""
    return FeatureInfo.read(Artifact(detections.store, detections.inputs("svms")[0])).categories


def _mean(figures: Mapping[str, Mapping[str, Any]], name: str) -> float | None:
    values = [entry[name] for entry in figures.values() if entry[name] is not None]
    return round(float(np.mean(values)), 6) if values else None


def _figures(result: CategoryResult) -> dict[str, Any]:
    """Plain values of a category; an average precision without positives is null."""

    def number(value: float) -> float | None:
        return None if np.isnan(value) else round(value, 6)

    points = len(result.recall) if result.positives else 0  # without objects there is no recall
    shown = _shown(result.recall[:points])
    total = result.precision + result.recall
    harmonic = np.divide(2 * result.precision * result.recall, total, out=np.zeros_like(total), where=total > 0)
    return {
        "voc07_ap": number(result.voc07_ap),
        "area_ap": number(result.area_ap),
        "positives": result.positives,
        "detections": result.detections,
        "true_positives": result.true_positives,
        "operating_score": round(float(result.scores[harmonic.argmax()]), 6) if points and harmonic.max() > 0 else None,
        "recall": [round(float(result.recall[i]), 5) for i in shown],
        "precision": [round(float(result.precision[i]), 5) for i in shown],
    }


def _shown(recall: npt.NDArray[np.float64]) -> list[int]:
    """Ranks to draw: at most `CURVE_POINTS` of those at which an object is found, evenly over the objects."""
    found = np.flatnonzero(np.diff(recall, prepend=0.0) > 0)
    chosen = np.linspace(0, max(len(found) - 1, 0), min(len(found), CURVE_POINTS)).astype(int)
    return [int(rank) for rank in np.unique(found[chosen])]
