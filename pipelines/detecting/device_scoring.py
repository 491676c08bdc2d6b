"""Scoring a shard's images on a GPU from end to end: decode, send, convolve, pool, score, suppress and regress overlap.

It is the way of one detector whose maps are made where they are used. What it finds is what `scoring` finds image by
image; nothing waits for the device but the end of a batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from pipelines.artifacts.detections import DetectionTable
from pipelines.artifacts.detectors import FeatureInfo
from pipelines.artifacts.image_tars import ImageRecord
from pipelines.detecting.checks import require_scorable
from pipelines.detecting.detector_sources import DetectorSource
from pipelines.engine.workspace import Artifact
from pipelines.shards.made_maps import maker_of
from pipelines.shards.reading import read_images
from sppnet.arrays import Float32s
from sppnet.detection.detector import Detector
from sppnet.detection.ensemble import Rules
from sppnet.detection.image_detector import Detections, ImageDetector, WindowedFile
from sppnet.detection.regression import BoxRegressors
from sppnet.errors import DataError
from sppnet.networks.network import Layer


@dataclass(frozen=True, slots=True, eq=False)
class DetectedImage:
    """An image with what was found in it, or why nothing could be.

    Attributes:
        key: The image's key.
        windows: `[n, 4]` float32 pixels.
        found: Its detections.
    """

    key: str
    windows: Float32s
    found: Detections | DataError

    def table(self, keys: tuple[str, ...], categories: tuple[str, ...]) -> DetectionTable:
        """Return the detections as rows of a shard; raise `DataError` for an image that has to be set aside."""
        if isinstance(self.found, DataError):
            raise self.found
        image = np.full(len(self.found.scores), keys.index(self.key), np.int32)
        boxes = self.windows[self.found.window]
        return DetectionTable(
            keys, categories, image, self.found.category, self.found.scores, boxes, self.found.regressed
        )


class DeviceScorer:
    """Scores the windows of images that are not convolved yet.

    Args:
        source: The detector, one that `fits`.
        rules: How windows become detections.
    """

    def __init__(self, source: DetectorSource, rules: Rules) -> None:
        detector = source.detector
        maker, info = maker_of(source.maps, detector.features.device)
        regressors: BoxRegressors | None = None
        layer: Layer = "pool5"
        if detector.regression_features is not None:
            names = source.info.categories
            regressors = BoxRegressors(names, tuple(detector.regressors[name] for name in names))
            layer = detector.regression_features.layer
        self._detector = ImageDetector(
            maker,
            detector.features,
            detector.svms,
            regressors,
            regressor_layer=layer,
            rules=rules,
            batch=maker.batch,
            max_pixels=info.max_pixels,
        )

    @staticmethod
    def fits(source: DetectorSource) -> bool:
        """Tell whether a detector can be used so: its maps are not stored, and its regressors take what its SVMs do."""
        if source.maps.stored:
            return False
        if not source.regressors:
            return True
        own, other = source.info, FeatureInfo.joined(source.regressors)
        alike = (own.scales, own.convention, own.levels) == (other.scales, other.convention, other.levels)
        layers = other.layer == "pool5" or (other.layer, other.head, other.precision) == (
            own.layer,
            own.head,
            own.precision,
        )
        return alike and layers and _has_all(source.detector, own.categories)

    def detect(self, images: Artifact, shard: str, windows: Mapping[str, Float32s]) -> Iterator[DetectedImage]:
        """Detect objects in the images of a shard that windows are given for, in the shard's order.

        Args:
            images: The images artifact.
            shard: Its name.
            windows: By key, `[n, 4]` float32 pixels.
        """
        waiting: list[DetectedImage] = []

        def files() -> Iterator[WindowedFile]:
            for record in read_images(images, shard)[0]:
                if record.key in windows:
                    seen = _checked(record, windows[record.key])
                    waiting.append(seen)
                    if not isinstance(seen.found, DataError):
                        yield WindowedFile(record.data, seen.windows)

        for found in self._detector(files()):
            while isinstance(waiting[0].found, DataError):
                yield waiting.pop(0)
            seen = waiting.pop(0)
            yield DetectedImage(seen.key, seen.windows, found)
        yield from waiting


def _has_all(detector: Detector, categories: tuple[str, ...]) -> bool:
    return set(categories) <= set(detector.regressors)


_NONE = Detections(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.float32), np.zeros((0, 4), np.float32))


def _checked(record: ImageRecord, windows: Float32s) -> DetectedImage:
    """Return an image that waits for its detections, or one that can't be scored."""
    try:
        require_scorable(windows)
    except DataError as error:
        return DetectedImage(record.key, windows, error)
    return DetectedImage(record.key, windows, _NONE)
