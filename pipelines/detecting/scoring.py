"""Scoring shards with one detector or several: what `score` and `combine` share.

An image's windows are scored by every detector, the union is suppressed, and only what stays is regressed, each
window by its own detector's regressors. Nothing is stored before suppression, where 2,000 windows x 200 categories
an image would be; memory holds one image's maps and scores, and one shard's detections. Detectors that share a
backbone share the reading of its maps, and those with equal features share the features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch

from pipelines.artifacts.detections import DetectionTable, encode_detection_table
from pipelines.artifacts.detectors import Detector, FeatureInfo, read_detector
from pipelines.artifacts.windows_and_maps import decode_windows
from pipelines.engine.stopwatch import Stopwatch
from pipelines.engine.workspace import Artifact, Output, Quarantined
from pipelines.shards.keys import ShardWork
from pipelines.shards.windowed import ShardInputs, WindowedImage
from sppnet.detection.ensemble import Chosen, ScoredWindows, choose_windows
from sppnet.errors import ArtifactError, DataError

Windows = npt.NDArray[np.float32]


@dataclass(frozen=True)
class DetectorSource:
    """Where a detector and what it looks at are.

    Attributes:
        windows: The windows artifact.
        maps: The maps artifact.
        svms: Its SVMs.
        regressors: Its box regressors, or None.
    """

    windows: Artifact
    maps: Artifact
    svms: Artifact
    regressors: Artifact | None = None

    @classmethod
    def of_detections(cls, detections: Artifact) -> tuple[DetectorSource, ...]:
        """The detectors that detections were made with, from what their artifacts say they were made from."""
        preimage = detections.preimage()
        if preimage.get("stage") == "combine":
            parts = [Artifact(detections.store, name) for name in detections.inputs("detections")]
            return tuple(source for part in parts for source in cls.of_detections(part))
        found = [detections.inputs(field) for field in ("windows", "maps", "svms", "regressors")]
        if not all(found[:3]):
            raise ArtifactError(f"{detections.store.uri}/{detections.name} does not tell what it was made from")
        windows, maps, svms, regressors = (Artifact(detections.store, names[0]) if names else None for names in found)
        return (cls(windows, maps, svms, regressors),)  # type: ignore[arg-type]

    @cached_property
    def info(self) -> FeatureInfo:
        """What the SVMs look at."""
        return FeatureInfo.read(self.svms)

    @cached_property
    def detector(self) -> Detector:
        """The detector, read once; `ConfigError` if the maps are of another backbone than it was trained on."""
        return read_detector(self.svms, self.regressors, self.maps)

    @property
    def features_name(self) -> tuple[object, ...]:
        """Equal for detectors whose windows have the same features."""
        info = self.info
        return (
            self.windows.name,
            self.maps.name,
            info.layer,
            info.scales,
            info.convention,
            info.levels,
            info.head,
            info.precision,
        )


@dataclass(frozen=True)
class Rules:
    """How the windows of an image become detections.

    Attributes:
        threshold: Lower scores are dropped.
        nms_iou: Of two detections of a category that overlap more, the lower is suppressed.
        per_image: At most so many detections an image and category.
    """

    threshold: float
    nms_iou: float
    per_image: int


@dataclass(frozen=True, slots=True, eq=False)
class _SeenImage:
    """An image as every detector sees it."""

    key: str
    views: Sequence[WindowedImage]


class ShardScorer:
    """Scores the shards of an images artifact.

    Args:
        images: The images artifact.
        sources: The detectors.
        rules: How windows become detections.
    """

    def __init__(self, images: Artifact, sources: Sequence[DetectorSource], rules: Rules) -> None:
        self._images = images
        self._sources = sources
        self._rules = rules

    @cached_property
    def categories(self) -> tuple[str, ...]:
        """Those of the first detector, in its order; the others' scores are put into that order."""
        return self._sources[0].info.categories

    @cached_property
    def _columns(self) -> list[list[int]]:
        """By detector, where its score of each category is."""
        return [[source.info.categories.index(name) for name in self.categories] for source in self._sources]

    def run(self, unit: str, account: Callable[[str, Iterable[Quarantined]], ShardWork]) -> Output:
        """Score the windows of a shard's images.

        The commit's figures say how many seconds went into the windows' features (pooling, fc6, fc7), into the SVMs,
        into suppression and into box regression; reading is what is left of the unit's time.

        Args:
            unit: The shard.
            account: Opens the account of a shard, given the keys that were set aside before.
        """
        images, earlier = self._open(unit)
        work = account(unit, earlier)
        parts: list[DetectionTable] = []
        windows = 0
        watch = Stopwatch(self._sources[0].detector.features.device)
        for views, table in work.each(images, lambda seen: (seen.views, self._detect(seen.views, work.keys, watch))):
            parts.append(table)
            windows += sum(len(view.windows) for view in views)
        table = _joined(parts, work.keys, self.categories)
        figures = {"images": work.done, "windows": windows, **watch.figures()}
        return work.output(encode_detection_table(table), ".parquet", len(table), figures)

    def _open(self, unit: str) -> tuple[Iterator[_SeenImage], tuple[Quarantined, ...]]:
        """The shard's images, each as every detector sees it, and the keys set aside before or for any detector."""
        by_maps: dict[str, ShardInputs] = {}
        for source in self._sources:
            before = by_maps.get(source.maps.name)
            scales = tuple(sorted({*source.detector.scales, *(before.scales if before else ())}))
            windows = before.windows if before else source.windows
            by_maps[source.maps.name] = ShardInputs(self._images, windows, source.maps, scales)
        aside: dict[str, Quarantined] = {}
        readers = {}
        for name, inputs in by_maps.items():
            readers[name], entries = inputs.open(unit)
            for entry in entries:
                aside.setdefault(entry.key, entry)
        windows_of = self._windows(unit, aside)
        return self._joined_readers(readers, windows_of, aside), tuple(aside.values())

    def _windows(self, unit: str, aside: dict[str, Quarantined]) -> dict[str, dict[str, Windows]]:
        """By windows artifact, the windows of each image of a shard; adds to `aside` what has none."""
        found: dict[str, dict[str, Windows]] = {}
        for artifact in {source.windows.name: source.windows for source in self._sources}.values():
            commit = artifact.commit(unit)
            for entry in commit.quarantined:
                aside.setdefault(entry.key, entry)
            rows = decode_windows(artifact.read_commit(commit), f"{artifact.name}/{unit}")
            found[artifact.name] = {row.key: row.windows for row in rows}
        return found

    def _joined_readers(
        self,
        readers: Mapping[str, Iterator[WindowedImage]],
        windows_of: Mapping[str, Mapping[str, Windows]],
        aside: Mapping[str, Quarantined],
    ) -> Iterator[_SeenImage]:
        kept = {name: (image for image in reader if image.key not in aside) for name, reader in readers.items()}
        for images in zip(*kept.values(), strict=True):
            by_maps = dict(zip(kept, images, strict=True))
            yield _SeenImage(
                images[0].key,
                [
                    self._seen_by(source, by_maps[source.maps.name], windows_of[source.windows.name])
                    for source in self._sources
                ],
            )

    def _seen_by(self, source: DetectorSource, image: WindowedImage, windows: Mapping[str, Windows]) -> WindowedImage:
        if image.key not in windows:
            raise ArtifactError(f"{source.windows.name}: image {image.key} has neither windows nor a reason")
        return WindowedImage(image.key, image.image_wh, windows[image.key], image.maps)

    @torch.inference_mode()
    def _detect(self, views: Sequence[WindowedImage], keys: tuple[str, ...], watch: Stopwatch) -> DetectionTable:
        watch.lap()
        features: dict[tuple[object, ...], torch.Tensor] = {}
        found = []
        for source, view, columns in zip(self._sources, views, self._columns, strict=True):
            check_windows(view.windows)
            if source.features_name not in features:
                value = source.detector.features(view.maps, view.image_wh, view.windows)
                features[source.features_name] = value
            watch.lap("features")
            scores = np.asarray(source.detector.svms.scores(features[source.features_name]).cpu())
            found.append(ScoredWindows(view.windows, scores[:, columns]))
            watch.lap("svm")
        rules = self._rules
        chosen = choose_windows(found, rules.threshold, rules.nms_iou, rules.per_image)
        watch.lap("suppression")
        boxes = np.zeros((len(chosen), 4), np.float32)
        regressed = np.full((len(chosen), 4), np.nan, np.float32)
        for number, (source, view) in enumerate(zip(self._sources, views, strict=True)):
            rows = np.flatnonzero(chosen.detector == number)
            boxes[rows] = view.windows[chosen.window[rows]]
            regressed[rows] = self._regressed(source, view, chosen, rows)
        watch.lap("regression")
        image = np.full(len(chosen), keys.index(views[0].key), np.int32)
        return DetectionTable(keys, self.categories, image, chosen.category, chosen.scores, boxes, regressed)

    def _regressed(
        self, source: DetectorSource, view: WindowedImage, chosen: Chosen, rows: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float32]:
        """Regressed boxes of a detector's windows that stayed: each distinct window is pooled once."""
        boxes = np.full((len(rows), 4), np.nan, np.float32)
        detector = source.detector
        if detector.regression_features is None or len(rows) == 0:
            return boxes
        distinct, place = np.unique(chosen.window[rows], return_inverse=True)
        pooled = detector.regression_features(view.maps, view.image_wh, view.windows[distinct])
        for number in np.unique(chosen.category[rows]):
            regressor = detector.regressors.get(self.categories[number])
            if regressor is None:
                continue
            own = np.flatnonzero(chosen.category[rows] == number)
            windows = view.windows[distinct[place[own]]]
            features = pooled[torch.from_numpy(place[own]).to(pooled.device)]
            boxes[own] = regressor.predict(features.float().cpu().numpy(), windows, view.image_wh)
        return boxes


def check_windows(windows: Windows) -> None:
    """Raises `DataError` for windows of an image that can't be scored.

    `bad-windows`: an edge is not finite. `no-windows`: there are some, but none has an area. An image may have no
    windows at all: nothing is found in it then.
    """
    if not np.isfinite(windows).all():
        raise DataError("bad-windows", "a window's edges are not finite")
    sides = windows[:, 2:] - windows[:, :2]
    if len(windows) and not (sides > 0).all(axis=1).any():
        raise DataError("no-windows", f"none of {len(windows)} windows has an area")


def _joined(parts: Sequence[DetectionTable], keys: tuple[str, ...], categories: tuple[str, ...]) -> DetectionTable:
    """Tables of the same keys and categories behind one another."""
    if not parts:
        whole = np.zeros(0, np.int32)
        none = np.zeros((0, 4), np.float32)
        return DetectionTable(keys, categories, whole, whole, np.zeros(0, np.float32), none, none)
    names = ("image", "category", "scores", "boxes", "regressed")
    return DetectionTable(keys, categories, *(np.concatenate([getattr(p, name) for p in parts]) for name in names))
