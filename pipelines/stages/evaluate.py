"""evaluate: average precision per category for one or several sets of detections (VOC's and ILSVRC DET's protocols)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from pipelines.artifacts.metrics import UNIT, DetectionProtocol, category_figures, mean_figure
from pipelines.detecting.detection_sets import Boxes, DetectionSet, TopPerSetField, final_boxes, parse_top_per_set
from pipelines.engine.fingerprint import canonical_json
from pipelines.engine.stage import Input, Phase, StageConfig, require_subset
from pipelines.engine.workspace import Artifact, Output
from pipelines.shards.stage import ShardStage, require_same_images
from sppnet.errors import ConfigError
from sppnet.evaluation.curves import Detections, GroundTruth
from sppnet.evaluation.det import evaluate_det
from sppnet.evaluation.voc import evaluate_voc


class EvaluateConfig(StageConfig):
    """Config of `evaluate`.

    Attributes:
        images: The step that ingests, for the annotations.
        detections: The steps that score; one row of the result each, a second one where boxes were regressed.
        split: The split that was scored.
        protocol: `voc`: both average precisions of VOC; `det`: ILSVRC DET's, with its own overlaps for small
            objects, no difficult ones, and images left out for the categories that they don't judge.
        iou: Overlap from which a detection is right by VOC's rule.
        nms_iou: Regressed boxes are suppressed once more at this overlap, as in the release.
        top_per_set: Only so many detections of a category over the split count, the best: a number, or `5/image`
            for 5 x the split's images; all by default.
    """

    stage: Literal["evaluate"]
    images: Annotated[str, Input(("images",))]
    detections: Annotated[tuple[str, ...], Input(("detections",)), Field(min_length=1)]
    split: str = "val"
    protocol: DetectionProtocol = "voc"
    iou: Annotated[float, Field(gt=0, le=1)] = 0.5
    nms_iou: Annotated[float, Field(gt=0, le=1)] = 0.3
    top_per_set: TopPerSetField = None


@dataclass
class _Truth:
    """The objects of one category, and the images that don't judge it, by their numbers."""

    images: list[int] = field(default_factory=list)
    boxes: list[tuple[float, ...]] = field(default_factory=list)
    difficult: list[bool] = field(default_factory=list)
    ignored: list[int] = field(default_factory=list)

    def objects(self) -> GroundTruth:
        """Return the objects as the evaluation takes them."""
        return GroundTruth.of(np.array(self.images, np.int64), self.boxes, self.difficult)


class Evaluate(ShardStage[EvaluateConfig]):
    """Writes one JSON object: rows of mean and per-category figures with their curves."""

    name: ClassVar[str] = "evaluate"
    makes: ClassVar[str] = "metrics"
    config_type: ClassVar[type[StageConfig]] = EvaluateConfig

    @classmethod
    def whole_splits(cls, config: EvaluateConfig) -> tuple[str, ...]:
        """Return the split: all of it is taken together."""
        return (config.split,)

    @classmethod
    def check(cls, config: EvaluateConfig, inputs: Mapping[str, tuple[StageConfig, ...]]) -> None:
        """Check that the split was scored, in the same images."""
        detections: Any = inputs["detections"]
        for scored in detections:
            require_subset((config.split,), scored.splits, "split", "split")
        require_same_images(config, inputs, "detections")
        if config.protocol == "det" and config.iou != 0.5:
            raise ConfigError("iou: the protocol det has overlaps of its own; leave it out")

    @classmethod
    def external(cls, config: EvaluateConfig) -> Mapping[str, Any]:
        """Return the names of the steps: rows are called after them."""
        return {"names": list(config.detections)}

    def phases(self) -> list[Phase]:
        """Return one unit."""
        _ = self.manifest  # so that status knows when there is nothing to evaluate yet
        return [Phase("evaluate", (UNIT,), keyed=False)]

    def run(self, unit: str) -> Output:
        """Evaluate every set of detections against the same annotations."""
        truth = self._ground_truth()
        rows: list[dict[str, Any]] = []
        for step, artifact in zip(self.config.detections, self.inputs("detections"), strict=True):
            rows.extend(self._rows(step, artifact, truth))
        config = self.config
        body = {"split": config.split, "protocol": config.protocol, "iou": config.iou, "rows": rows}
        return Output(canonical_json(body).encode(), ".json", len(rows), 0)

    def _ground_truth(self) -> dict[str, _Truth]:
        found: dict[str, _Truth] = {}
        split = self.config.split
        keys = (key for unit in self.manifest.units(split) for key in self.manifest.keys(unit))
        numbers = {key: number for number, key in enumerate(keys)}
        for unit in self.manifest.units(split):
            for key, annotation in self.images.read_annotations(unit)[0].items():
                number = numbers[key]
                for thing in annotation.objects:
                    entry = found.setdefault(thing.category, _Truth())
                    entry.images.append(number)
                    entry.boxes.append(thing.box)
                    entry.difficult.append(thing.difficult)
                for category in annotation.ignored:
                    found.setdefault(category, _Truth()).ignored.append(number)
        return found

    @cached_property
    def _not_judged(self) -> frozenset[str]:
        """The images that ingest set aside: where an annotation can't be used, no detection is right or wrong."""
        units = [self.manifest.annotations(unit) for unit in self.manifest.units(self.config.split)]
        return frozenset(entry.key for commit in self.images.artifact.commits(units) for entry in commit.quarantined)

    def _rows(self, step: str, artifact: Artifact, truth: Mapping[str, _Truth]) -> Iterator[dict[str, Any]]:
        detected = DetectionSet(artifact, self.manifest, self.config.split)
        limit = parse_top_per_set(self.config.top_per_set, len(detected.keys))
        tables = list(detected.best(limit, self._not_judged))
        regressed = any(table.has_regressed.any() for table in tables)
        kinds: tuple[Boxes, ...] = ("windows", "regressed") if regressed else ("windows",)
        for kind in kinds:
            figures = {}
            for category, table in zip(detected.categories, tables, strict=True):
                final = final_boxes(table, kind, self.config.nms_iou)
                judged = Detections.of(final.image.astype(np.int64), final.boxes, final.scores)
                figures[category] = self._judge(truth.get(category, _Truth()), judged)
            yield {
                "name": step if kind == "windows" else f"{step}+bb",
                "detections": artifact.name,
                "boxes": kind,
                "voc07_map": mean_figure(figures, "voc07_ap"),
                "area_map": mean_figure(figures, "area_ap"),
                "categories": figures,
            }

    def _judge(self, truth: _Truth, found: Detections) -> dict[str, Any]:
        if self.config.protocol == "det":
            result = evaluate_det(truth.objects(), found, truth.ignored)
        else:
            result = evaluate_voc(truth.objects(), found, self.config.iou)
        return category_figures(result, self.config.protocol)
