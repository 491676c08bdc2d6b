"""Scoring shards with one detector or several: what `score` and `combine` share.

An image's windows are scored by every detector, the union is suppressed, and only what stays is regressed, each
window by its own detector's regressors. Nothing is stored before suppression, where 2,000 windows x 200 categories
an image would be; memory holds one image's maps and scores, and one shard's detections. Detectors that share a
backbone share the reading of its maps, and those with equal features share the features.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import numpy as np
import torch

from pipelines.artifacts.detections import DetectionTable, encode_detection_table
from pipelines.artifacts.windows_and_maps import WindowsRow
from pipelines.detecting.checks import require_scorable
from pipelines.detecting.detector_sources import DetectorSource
from pipelines.detecting.device_scoring import DeviceScorer
from pipelines.engine.commits import Output, Quarantined
from pipelines.engine.stopwatch import Stopwatch
from pipelines.engine.workspace import Artifact
from pipelines.shards.keys import ShardWork
from pipelines.shards.map_sources import MapSource, commits_of, map_source
from pipelines.shards.read_ahead import one_ahead
from pipelines.shards.windowed import WindowedImage, read_windows, set_aside
from sppnet.detection.calibration import LogOdds, log_odds
from sppnet.detection.ensemble import Rules, ScoredWindows, choose_windows
from sppnet.detection.features import MapsByScale
from sppnet.errors import ArtifactError
from sppnet.sizes import Size


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
        devices: Kinds of devices on which images are scored in batches from end to end, where they can be.
    """

    def __init__(
        self,
        images: Artifact,
        sources: Sequence[DetectorSource],
        rules: Rules,
        devices: Container[str] = ("cuda",),
    ) -> None:
        self._images = images
        self._sources = sources
        self._rules = rules
        self._devices = devices

    @cached_property
    def categories(self) -> tuple[str, ...]:
        """Those of the first detector, in its order; the others' scores are put into that order."""
        return self._sources[0].info.categories

    @cached_property
    def _columns(self) -> list[list[int]]:
        """By detector, where its score of each category is."""
        return [[source.info.categories.index(name) for name in self.categories] for source in self._sources]

    @cached_property
    def _lines(self) -> list[tuple[LogOdds, ...] | None]:
        """By detector, the line of each category; None where scores are compared as they are."""
        found = [source.calibration for source in self._sources]
        return [None if one is None else one.lines(self.categories) for one in found]

    def run(self, unit: str, account: Callable[[str, Iterable[Quarantined]], ShardWork]) -> Output:
        """Score the windows of a shard's images.

        The commit's figures say how many seconds went into the windows' features (pooling, fc6, fc7), into the SVMs,
        into suppression and into box regression; reading is what is left of the unit's time.

        Args:
            unit: The shard.
            account: Opens the account of a shard, given the keys that were set aside before.
        """
        if self._on_device is not None:
            return self._run_on_device(self._on_device, unit, account)
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

    @cached_property
    def _on_device(self) -> DeviceScorer | None:
        """What scores from end to end on a GPU, where that can be."""
        (first, *more) = self._sources
        if (
            more
            or self._lines[0]
            or first.detector.features.device.type not in self._devices
            or not DeviceScorer.fits(first)
        ):
            return None
        return DeviceScorer(first, self._rules)

    def _run_on_device(
        self, scorer: DeviceScorer, unit: str, account: Callable[[str, Iterable[Quarantined]], ShardWork]
    ) -> Output:
        windows = self._sources[0].windows.commit(unit)
        aside = set_aside([windows, self._images.commit(unit)])
        rows = {row.key: row.windows for row in read_windows(self._sources[0].windows, windows)}
        work = account(unit, aside.values())
        wanted = {key: boxes for key, boxes in rows.items() if key not in aside}
        found = scorer.detect(self._images, unit, wanted)
        table = _joined(
            list(work.each(found, lambda image: image.table(work.keys, self.categories))), work.keys, self.categories
        )
        figures = {"images": work.done, "windows": sum(map(len, wanted.values()))}
        return work.output(encode_detection_table(table), ".parquet", len(table), figures)

    def reads(self, unit: str) -> list[tuple[str, str]]:
        """Name the artifacts and their units that a shard's scores are made from, detectors apart."""
        windows = [(name, unit) for name in dict.fromkeys(source.windows.name for source in self._sources)]
        maps = [read for source in self._map_sources().values() for read in source.reads(unit)]
        return [(self._images.name, unit), *windows, *((artifact.name, read) for artifact, read in maps)]

    def _open(self, unit: str) -> tuple[Iterator[_SeenImage], tuple[Quarantined, ...]]:
        """Open a shard: its images, each as every detector sees it, and the keys set aside before, for any detector."""
        windows = {source.windows.name: source.windows for source in self._sources}
        maps = self._map_sources()
        commits = {name: artifact.commit(unit) for name, artifact in windows.items()}
        commits_of_maps = {name: commits_of(source, unit) for name, source in maps.items()}
        aside = set_aside(chain(commits.values(), *commits_of_maps.values()))

        def seen() -> Iterator[_SeenImage]:
            left_out = frozenset(aside)
            rows = {name: read_windows(artifact, commits[name]) for name, artifact in windows.items()}
            by_key = {name: {row.key: row for row in found} for name, found in rows.items()}
            maps_of = {name: source.open(unit, commits_of_maps[name], left_out) for name, source in maps.items()}
            for key in (row.key for row in next(iter(rows.values())) if row.key not in left_out):
                found = {name: read(key) for name, read in maps_of.items()}
                yield _SeenImage(key, [_seen_by(source, key, by_key, found) for source in self._sources])

        return one_ahead(seen()), tuple(aside.values())

    def _map_sources(self) -> dict[str, MapSource]:
        """Return by artifact where maps are read, once for all detectors, at the scales that any of them needs."""
        scales: dict[str, set[int]] = {}
        for source in self._sources:
            scales.setdefault(source.maps.name, set()).update(source.scales)
        artifacts = {source.maps.name: source.maps for source in self._sources}
        return {
            name: map_source(self._images, artifacts[name], tuple(sorted(own)), flips=False, flipped=False)
            for name, own in scales.items()
        }

    @torch.inference_mode()
    def _detect(self, views: Sequence[WindowedImage], keys: tuple[str, ...], watch: Stopwatch) -> DetectionTable:
        watch.lap()
        for view in views:
            for scale in view.maps:
                view.maps[scale]  # made now where they are not read
        watch.lap("maps")
        features: dict[tuple[object, ...], torch.Tensor] = {}
        found = []
        for source, view, columns, lines in zip(self._sources, views, self._columns, self._lines, strict=True):
            require_scorable(view.windows)
            if source.features_name not in features:
                value = source.detector.features(view.maps, view.image_wh, view.windows)
                features[source.features_name] = value
            watch.lap("features")
            scores = np.asarray(source.detector.svms.scores(features[source.features_name]).cpu())[:, columns]
            found.append(ScoredWindows(view.windows, scores, None if lines is None else log_odds(scores, lines)))
            watch.lap("svm")
        rules = self._rules
        chosen = choose_windows(found, rules.least, rules.nms_iou, rules.per_image)
        watch.lap("suppression")
        boxes = np.zeros((len(chosen), 4), np.float32)
        regressed = np.full((len(chosen), 4), np.nan, np.float32)
        for place, (source, view) in enumerate(zip(self._sources, views, strict=True)):
            rows = np.flatnonzero(chosen.detector == place)
            boxes[rows] = view.windows[chosen.window[rows]]
            categories = [self.categories[number] for number in chosen.category[rows]]
            regressed[rows] = source.detector.regress(
                view.maps, view.image_wh, view.windows, chosen.window[rows], categories
            )
        watch.lap("regression")
        image = np.full(len(chosen), keys.index(views[0].key), np.int32)
        return DetectionTable(keys, self.categories, image, chosen.category, chosen.scores, boxes, regressed)


def _seen_by(
    source: DetectorSource, key: str, windows: Mapping[str, Mapping[str, WindowsRow]], maps: Mapping[str, MapsByScale]
) -> WindowedImage:
    if key not in windows[source.windows.name]:
        raise ArtifactError(f"{source.windows.name}: image {key} has neither windows nor a reason")
    row = windows[source.windows.name][key]
    return WindowedImage(key, Size(row.width, row.height), row.windows, maps[source.maps.name])


def _joined(parts: Sequence[DetectionTable], keys: tuple[str, ...], categories: tuple[str, ...]) -> DetectionTable:
    """Return tables of the same keys and categories behind one another."""
    if not parts:
        whole = np.zeros(0, np.int32)
        none = np.zeros((0, 4), np.float32)
        return DetectionTable(keys, categories, whole, whole, np.zeros(0, np.float32), none, none)
    names = ("image", "category", "scores", "boxes", "regressed")
    return DetectionTable(keys, categories, *(np.concatenate([getattr(p, name) for p in parts]) for name in names))
