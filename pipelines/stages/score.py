"""score: SVM scores of every window from the cached maps, non-maximum suppression, box regression."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field

from pipelines.detectors import Detector, read_detector
from pipelines.examples import check_inputs
from pipelines.manifest import Manifest
from pipelines.schemas import DetectionRow, encode_detections
from pipelines.shards import check_account, splits_units
from pipelines.stage import COVERAGE, RUNTIME, Input, Phase, Resources, Stage, StageConfig
from pipelines.windowed import ShardInputs, WindowedImage
from pipelines.workspace import Output, Quarantined
from sppnet.boxes import nms
from sppnet.errors import DataError

Floats = npt.NDArray[np.float32]


class ScoreConfig(StageConfig):
    """Config of `score`. Features, scales and pyramid are those that the SVMs were trained on.

    Attributes:
        images: The step that ingests.
        windows: The step that proposes.
        maps: The step that extracts.
        svms: The step that trained the SVMs.
        regressors: The step that trained box regressors; none by default.
        splits: Splits to score.
        threshold: Lower scores are dropped.
        nms_iou: Of two detections of a category that overlap more, the lower is suppressed.
        per_image: At most so many detections an image and category.
        gpus: GPUs a unit takes.
        cpus: CPUs a unit takes.
    """

    stage: Literal["score"]
    images: Annotated[str, Input(("images",))]
    windows: Annotated[str, Input(("windows",))]
    maps: Annotated[str, Input(("maps",))]
    svms: Annotated[str, Input(("svms",))]
    regressors: Annotated[str | None, Input(("regressors",))] = None
    splits: Annotated[tuple[str, ...], COVERAGE] = ("val",)
    threshold: float = -1.5
    nms_iou: Annotated[float, Field(gt=0, le=1)] = 0.3
    per_image: Annotated[int, Field(ge=1)] = 100
    gpus: Annotated[float, RUNTIME, Field(ge=0)] = 0
    cpus: Annotated[float, RUNTIME, Field(gt=0)] = 1


class Score(Stage[ScoreConfig]):
    """Writes one Parquet file a shard, one row a detection."""

    name: ClassVar[str] = "score"
    makes: ClassVar[str] = "detections"
    config_type: ClassVar[type[StageConfig]] = ScoreConfig

    @classmethod
    def check(cls, config: ScoreConfig, inputs: Mapping[str, tuple[StageConfig, ...]]) -> None:
        """The windows must be of the images, and the maps too, at the scales that the detector was trained at."""
        detectors: Any = (*inputs["svms"], *inputs["regressors"])
        scales = tuple(scale for detector in detectors for scale in detector.scales)
        check_inputs(config.images, scales, config.splits, inputs)

    @cached_property
    def _manifest(self) -> Manifest:
        return Manifest.read(self.input("images"))

    @cached_property
    def _detector(self) -> Detector:
        return read_detector(self.input("svms"), self.optional_input("regressors"), self.input("maps"))

    def phases(self) -> list[Phase]:
        """One phase; a unit is a shard."""
        resources = Resources(cpus=self.config.cpus, gpus=self.config.gpus)
        return [Phase("score", splits_units(self._manifest, self.config.splits), resources)]

    def run(self, unit: str) -> Output:
        """Scores the windows of a shard's images."""
        parts = ShardInputs(self.input("images"), self.input("windows"), self.input("maps"), self._detector.scales)
        images, earlier = parts.open(unit)
        quarantined = list(earlier)
        rows: list[DetectionRow] = []
        done = windows = 0
        for image in images:
            try:
                rows.extend(self._detect(image))
            except DataError as error:
                quarantined.append(Quarantined(image.key, error.reason, error.detail, self.name))
                continue
            done += 1
            windows += len(image.windows)
        check_account(unit, self._manifest.keys(unit), done, tuple(quarantined))
        figures = {"images": done, "windows": windows}
        return Output(encode_detections(rows), ".parquet", len(rows), done, tuple(quarantined), figures)

    @torch.inference_mode()
    def _detect(self, image: WindowedImage) -> list[DetectionRow]:
        features = self._detector.features(image.maps, image.image_wh, image.windows)
        scores = np.asarray(self._detector.svms.scores(features).cpu())
        found: list[DetectionRow] = []
        for index, category in enumerate(self._detector.svms.categories):
            kept = self._keep(image.windows, scores[:, index])
            boxes = image.windows[kept]
            regressed = self._detector.regress(category, image.maps, image.image_wh, boxes)
            for row, window in enumerate(kept):
                better = None if regressed is None else tuple(float(v) for v in regressed[row])
                x0, y0, x1, y1 = (float(v) for v in boxes[row])
                score = float(scores[window, index])
                found.append(DetectionRow(image.key, category, score, (x0, y0, x1, y1), better))  # type: ignore[arg-type]
        return found

    def _keep(self, windows: Floats, scores: Floats) -> npt.NDArray[np.int64]:
        above = np.flatnonzero(scores > self.config.threshold)
        kept = nms(windows[above], scores[above], self.config.nms_iou)[: self.config.per_image]
        return above[kept]
