"""calibrate: what a detector's scores mean, category by category, from detections in images that it has not seen.

Scores of two detectors can't be compared as they are where their SVMs were trained with other weights, on other
features or on other maps. As log-odds of being right they can, see `sppnet.detection.calibration`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from pipelines.artifacts.calibrations import UNIT, Calibration, CategoryCalibration
from pipelines.detecting.detection_sets import Boxes, DetectionSet, final_boxes
from pipelines.detecting.detector_sources import DetectorSource
from pipelines.detecting.ground_truth import not_judged, read_truth
from pipelines.engine.codec import encode
from pipelines.engine.commits import Output
from pipelines.engine.phases import Phase
from pipelines.engine.stage import Input, StageConfig, require_subset
from pipelines.shards.stage import ShardStage, require_same_images
from sppnet.arrays import Bools, Float64s
from sppnet.detection.calibration import LogOdds, fit_log_odds
from sppnet.errors import ConfigError
from sppnet.evaluation.curves import IGNORED, TRUE_POSITIVE, Detections

logger = logging.getLogger(__name__)


class CalibrateConfig(StageConfig):
    """Config of `calibrate`.

    Attributes:
        images: The step that ingests, for the annotations.
        detections: The step that scores with the detector.
        split: Images that neither the detector was trained on nor is judged by in the end: `dataset.divided` holds some
            of a split out.
        protocol: Which detections are right: `voc` or `det`, as in `evaluate`.
        iou: Overlap from which a detection is right by VOC's rule. [IoU]
        nms_iou: Regressed boxes are suppressed once more at this overlap, as in `evaluate`. [IoU]
        min_positives: A category with fewer right detections, or whose higher scores are no likelier right, takes the
            line of all categories together. [detections]
    """

    stage: Literal["calibrate"]
    images: Annotated[str, Input(("images",))]
    detections: Annotated[str, Input(("detections",))]
    split: str = "held-out"
    protocol: Literal["voc", "det"] = "voc"
    iou: Annotated[float, Field(gt=0, le=1)] = 0.5
    nms_iou: Annotated[float, Field(gt=0, le=1)] = 0.3
    min_positives: Annotated[int, Field(ge=1)] = 10


class Calibrate(ShardStage[CalibrateConfig]):
    """Writes one JSON object: the line of each category."""

    name: ClassVar[str] = "calibrate"
    makes: ClassVar[str] = "calibration"
    config_type: ClassVar[type[StageConfig]] = CalibrateConfig

    @classmethod
    def whole_splits(cls, config: CalibrateConfig) -> tuple[str, ...]:
        """Return the split: all of it is taken together."""
        return (config.split,)

    @classmethod
    def check(cls, config: CalibrateConfig, inputs: Mapping[str, tuple[StageConfig, ...]]) -> None:
        """Check that the split was scored, by one detector, in the same images."""
        scored: Any = inputs["detections"][0]
        if scored.stage == "combine":
            raise ConfigError(
                f"detections: '{config.detections}' stands for several detectors; calibrate each step that it combines"
            )
        require_subset((config.split,), scored.splits, "split", "split")
        require_same_images(config, inputs, "detections")
        if config.protocol != "voc" and config.iou != 0.5:
            raise ConfigError(f"iou: the protocol {config.protocol} has overlaps of its own; leave it out")

    @cached_property
    def _source(self) -> DetectorSource:
        return DetectorSource.of_detections(self.input("detections"))[0]

    def prepare(self) -> None:
        """Check that the detector was not trained on any of the images: it is surer of those than of others."""
        own = self._keys(self.config.split)
        for trained in self._source.trained:
            record = trained.preimage()
            if self.images.artifact.name not in record["inputs"].get("images", ()):
                continue  # other images
            for split in record.get("data", ()):
                if split in self.manifest.splits and own & self._keys(split):
                    raise ConfigError(
                        f"step {self.spec.step}: split: {trained.name} was trained on images of '{self.config.split}' "
                        f"('{split}'); calibrate on others, such as a part that dataset.divided holds out"
                    )

    def _keys(self, split: str) -> set[str]:
        return {key for unit in self.manifest.units(split) for key in self.manifest.keys(unit)}

    def phases(self) -> list[Phase]:
        """Return one unit."""
        _ = self.manifest  # so that status knows when there is nothing to calibrate on yet
        return [Phase("calibrate", (UNIT,), keyed=False)]

    def run(self, unit: str) -> Output:
        """Fit every category's line."""
        judged = dict(self._judged())
        scores, right = (np.concatenate(columns) for columns in zip(*judged.values(), strict=True))
        together = self._fit(scores, right)
        if together is None:
            hits, least = int(right.sum()), self.config.min_positives
            raise ConfigError(
                f"step {self.spec.step}: of {len(right)} detections in '{self.config.split}' {hits} are right, fewer "
                f"than min_positives ({least}), or they score no higher; hold more images out"
            )
        lines = {name: self._line(name, *columns, together) for name, columns in judged.items()}
        body = Calibration(self._source.parts, self.config.split, lines)
        return Output(encode(body), ".json", len(lines), 0)

    def _line(self, category: str, scores: Float64s, right: Bools, together: LogOdds) -> CategoryCalibration:
        found = self._fit(scores, right)
        hits, misses = int(right.sum()), int((~right).sum())
        if found is None:
            logger.warning(
                "step=%s category=%s: %d of %d held-out detections are right: it takes the line of all categories",
                self.spec.step, category, hits, len(right),
            )  # fmt: skip
        line = found or together
        return CategoryCalibration(line.slope, line.offset, hits, misses, found is not None)

    def _fit(self, scores: Float64s, right: Bools) -> LogOdds | None:
        """Fit a line; None where too few are right, or a higher score is no likelier right."""
        if np.count_nonzero(right) < self.config.min_positives:
            return None
        line = fit_log_odds(scores, right)
        return line if line.rises else None

    def _judged(self) -> Iterator[tuple[str, tuple[Float64s, Bools]]]:
        """Yield each category's detections that are right or wrong: their scores, and whether they are right."""
        config = self.config
        detected = DetectionSet(self.input("detections"), self.manifest, config.split)
        truth = detected.names_of(read_truth(self.images, config.split))
        tables = detected.best(None, not_judged(self.images, config.split))
        kind: Boxes = "regressed" if self._source.regressors else "windows"
        for category, table in zip(detected.categories, tables, strict=True):
            final = final_boxes(table, kind, config.nms_iou)
            found = Detections.of(truth.numbers[final.image], final.boxes, final.scores)
            outcomes = truth.of(category).match(found, config.protocol, config.iou)
            counted = outcomes != IGNORED
            yield category, (found.scores[counted], outcomes[counted] == TRUE_POSITIVE)
