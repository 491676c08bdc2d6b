"""evaluate: average precision per category for one or several sets of detections (VOC's, DET's, COCO's rules)."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from pipelines.artifacts.metrics import UNIT, DetectionProtocol, category_figures, coco_figures, mean_figure
from pipelines.detecting.comparisons import DetectionComparison, compare_detections, judge_category
from pipelines.detecting.detection_sets import Boxes, DetectionSet, TopPerSetField, final_boxes, parse_top_per_set
from pipelines.detecting.detector_sources import DetectorSource
from pipelines.detecting.ground_truth import CategoryTruth, SplitTruth, not_judged, read_truth
from pipelines.engine.commits import Output
from pipelines.engine.fingerprint import canonical_json
from pipelines.engine.phases import Phase
from pipelines.engine.stage import Input, StageConfig, require_subset
from pipelines.shards.stage import ShardStage, require_same_images
from sppnet.errors import ConfigError
from sppnet.evaluation.coco import CocoResult, evaluate_coco, mean_figures
from sppnet.evaluation.curves import CategoryResult, Detections
from sppnet.evaluation.det import evaluate_det
from sppnet.evaluation.voc import evaluate_voc

logger = logging.getLogger(__name__)


class EvaluateConfig(StageConfig):
    """Config of `evaluate`.

    Attributes:
        images: The step that ingests, for the annotations.
        detections: The steps that score; one row of the result each, a second one where boxes were regressed.
        split: The split that was scored.
        protocol: `voc`: both average precisions of VOC; `det`: ILSVRC DET's, with its own overlaps for small
            objects, no difficult ones, and images left out for the categories that they don't judge; `coco`: COCO's
            twelve figures, over ten overlaps and by size of object.
        iou: Overlap from which a detection is right by VOC's rule. [IoU]
        nms_iou: Regressed boxes are suppressed once more at this overlap, as in the release. [IoU]
        top_per_set: Only so many detections of a category over the split count, the best: a number, or `5/image` for 5
            x the split's images; all by default. [detections]
        comparisons: Differences of two rows' mAP by name, with the intervals that hold 95 % of them when the images
            are drawn anew; by the rules of VOC and DET.
    """

    stage: Literal["evaluate"]
    images: Annotated[str, Input(("images",))]
    detections: Annotated[tuple[str, ...], Input(("detections",)), Field(min_length=1)]
    split: str = "val"
    protocol: DetectionProtocol = "voc"
    iou: Annotated[float, Field(gt=0, le=1)] = 0.5
    nms_iou: Annotated[float, Field(gt=0, le=1)] = 0.3
    top_per_set: TopPerSetField = None
    comparisons: Mapping[str, DetectionComparison] = {}


class Evaluate(ShardStage[EvaluateConfig]):
    """Writes one JSON object: rows of mean and per-category figures with their curves."""

    name: ClassVar[str] = "evaluate"
    makes: ClassVar[str] = "metrics"
    schema: ClassVar[int] = 2
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
        if config.protocol != "voc" and config.iou != 0.5:
            raise ConfigError(f"iou: the protocol {config.protocol} has overlaps of its own; leave it out")
        if config.protocol == "coco" and config.comparisons:
            raise ConfigError("comparisons: there are none by the protocol coco; leave them out")
        for name, comparison in config.comparisons.items():
            require_subset(comparison.steps, config.detections, f"comparisons.{name}", "step")

    @classmethod
    def external(cls, config: EvaluateConfig) -> Mapping[str, Any]:
        """Return the names of the steps: rows are called after them."""
        return {"names": list(config.detections)}

    def prepare(self) -> None:
        """Say where detections are judged on the images that their scores were calibrated on."""
        for step, detections in zip(self.config.detections, self.inputs("detections"), strict=True):
            fitted = [source.calibration for source in DetectorSource.of_detections(detections)]
            if self.config.split in {one.split for one in fitted if one is not None}:
                logger.warning(
                    "step=%s detections=%s: were calibrated on split %s too, where they look better than elsewhere",
                    self.spec.step, step, self.config.split,
                )  # fmt: skip

    def phases(self) -> list[Phase]:
        """Return one unit."""
        _ = self.manifest  # so that status knows when there is nothing to evaluate yet
        return [Phase("evaluate", (UNIT,), keyed=False)]

    def run(self, unit: str) -> Output:
        """Evaluate every set of detections against the same annotations."""
        truth = read_truth(self.images, self.config.split)
        config = self.config
        compared = {row for one in config.comparisons.values() for row in (one.row, one.over)}
        rows: list[dict[str, Any]] = []
        judged = {}
        for step, artifact in zip(config.detections, self.inputs("detections"), strict=True):
            detected = DetectionSet(artifact, self.manifest, config.split)
            own = detected.names_of(truth)
            for about, found in self._rows(step, detected, own):
                rows.append({**about, **self._figures(own, found)})
                if about["name"] in compared:
                    judged[about["name"]] = {
                        category: judge_category(own.of(category), one, config.protocol, config.iou)
                        for category, one in found.items()
                    }
        body = {
            "split": config.split,
            "protocol": config.protocol,
            "iou": config.iou,
            "rows": rows,
            "comparisons": list(compare_detections(config.comparisons, judged, len(truth.numbers))),
        }
        return Output(canonical_json(body).encode(), ".json", len(rows), 0)

    @cached_property
    def _not_judged(self) -> frozenset[str]:
        return not_judged(self.images, self.config.split)

    def _rows(
        self, step: str, detected: DetectionSet, truth: SplitTruth
    ) -> Iterator[tuple[dict[str, Any], dict[str, Detections]]]:
        """Return what each row is called and the detections of its categories."""
        limit = parse_top_per_set(self.config.top_per_set, len(detected.keys))
        tables = list(detected.best(limit, self._not_judged))
        regressed = any(table.has_regressed.any() for table in tables)
        kinds: tuple[Boxes, ...] = ("windows", "regressed") if regressed else ("windows",)
        for kind in kinds:
            found = {}
            for category, table in zip(detected.categories, tables, strict=True):
                final = final_boxes(table, kind, self.config.nms_iou)
                found[category] = Detections.of(truth.numbers[final.image], final.boxes, final.scores)
            name = step if kind == "windows" else f"{step}+bb"
            yield {"name": name, "detections": detected.artifact.name, "boxes": kind}, found

    def _figures(self, truth: SplitTruth, found: Mapping[str, Detections]) -> dict[str, Any]:
        """Judge every category by the protocol: means and the categories' own figures."""
        coco = {}
        if self.config.protocol == "coco":
            coco = {category: _judge_coco(truth.of(category), rows) for category, rows in found.items()}
            figures = {
                category: {**category_figures(result.half, "coco"), "coco": coco_figures(result.figures)}
                for category, result in coco.items()
            }
        else:
            figures = {
                category: category_figures(self._judge(truth.of(category), rows), self.config.protocol)
                for category, rows in found.items()
            }
        return {
            "voc07_map": mean_figure(figures, "voc07_ap"),
            "area_map": mean_figure(figures, "area_ap"),
            **({"coco": coco_figures(mean_figures(coco.values()))} if coco else {}),
            "categories": figures,
        }

    def _judge(self, truth: CategoryTruth, found: Detections) -> CategoryResult:
        if self.config.protocol == "det":
            return evaluate_det(truth.objects(), found, truth.ignored)
        return evaluate_voc(truth.objects(), found, self.config.iou)


def _judge_coco(truth: CategoryTruth, found: Detections) -> CocoResult:
    """Judge a category by COCO's rule: detections in images that don't judge it are left out."""
    return evaluate_coco(truth.coco_objects(), found.select(~np.isin(found.images, truth.ignored)))
