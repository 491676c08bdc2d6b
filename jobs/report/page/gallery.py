"""Looks at the final detector's detections image by image: which to draw, which failed, and how many of each kind."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from jobs.report.plots.pictures import Failure, Picture, draw_failure, draw_picture
from jobs.report.read.detection import DetectorScore, Evaluation
from jobs.report.read.matching import ERRORS, Detection, ImageMatch, Judged, above, match_image
from pipelines.artifacts.detections import decode_detections
from pipelines.artifacts.image_tars import ImageRecord
from pipelines.datasets.keys import shown
from pipelines.engine.workspace import Artifact
from pipelines.shards.reading import IngestedImages, decode_record, read_images
from sppnet.boxes import nms
from sppnet.seeds import derive_seed


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a split the gallery looks at and shows.

    Attributes:
        pictures: Images drawn.
        failures: False positives shown.
        shards: Shards that are read; of more, so many are drawn by lot.
    """

    pictures: int = 24
    failures: int = 24
    shards: int = 64


@dataclass(frozen=True, slots=True)
class Source:
    """Where the detections are and how they were evaluated.

    Attributes:
        images: The images.
        detections: The detections artifact.
        evaluation: Their evaluation; its last row is looked at.
        iou: Overlap from which a detection is right.
        nms_iou: Overlap at which regressed boxes were suppressed once more.
        seed: Decides the lot.
        words: What the evaluation calls each category.
    """

    images: IngestedImages
    detections: Artifact
    evaluation: Evaluation
    iou: float
    nms_iou: float
    seed: int
    words: Mapping[str, str] = field(default_factory=dict)

    def word(self, category: str) -> str:
        """Return what the evaluation calls a category."""
        return self.words.get(category, category)

    @property
    def row(self) -> DetectorScore:
        """The final detector."""
        return self.evaluation.rows[-1]


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of one category's detections above its operating score.

    Attributes:
        right: True positives.
        errors: False positives by kind.
        missed: Objects without a true positive.
    """

    right: int
    errors: Mapping[str, int]
    missed: int


@dataclass(frozen=True, slots=True)
class Gallery:
    """The final detector's detections, looked at one image at a time.

    Attributes:
        detector: The detector's name.
        split: The split.
        images_seen: Images that were looked at.
        images_total: Images of the split.
        pictures: Images drawn by lot.
        failures: False positives of the highest scores, highest first.
        tallies: Counts by category over the images that were looked at.
    """

    detector: str
    split: str
    images_seen: int
    images_total: int
    pictures: tuple[Picture, ...]
    failures: tuple[Failure, ...]
    tallies: Mapping[str, Tally]


@dataclass(slots=True)
class _Seen:
    """What is kept of the images looked at so far: no more of them than will be shown."""

    images: int = 0
    drawn: list[tuple[int, ImageRecord, ImageMatch]] = field(default_factory=list)
    failed: dict[str, list[tuple[ImageRecord, Judged]]] = field(default_factory=dict)
    right: Counter[str] = field(default_factory=Counter)
    wrong: Counter[tuple[str, str]] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)


def make_gallery(source: Source, limits: Limits | None = None) -> Gallery:
    """Read images and detections a shard at a time, and draw a few.

    Raises:
        ArtifactError: A shard of images or detections is missing or corrupt.
    """
    limits = limits or Limits()
    split, row = source.evaluation.split, source.row
    manifest = source.images.manifest
    per_category = max(2, math.ceil(limits.failures / max(1, len(row.categories))))
    seen = _Seen()
    for unit in _shards(manifest.units(split), limits.shards, source.seed):
        for record, match in _matches(source, unit):
            _note(seen, record, match, derive_seed(source.seed, "report", record.key))
        seen.drawn = sorted(seen.drawn, key=lambda entry: (entry[0], entry[1].key))[: limits.pictures]
        seen.failed = {name: _worst(found, per_category) for name, found in seen.failed.items()}
    return Gallery(
        detector=row.name,
        split=split,
        images_seen=seen.images,
        images_total=manifest.count(split),
        pictures=_pictures(seen),
        failures=_failures(seen, limits.failures),
        tallies={
            name: Tally(seen.right[name], {error: seen.wrong[name, error] for error in ERRORS}, seen.missed[name])
            for name in row.categories
        },
    )


def _shards(units: Sequence[str], at_most: int, seed: int) -> Sequence[str]:
    if len(units) <= at_most:
        return units
    return sorted(random.Random(derive_seed(seed, "report", "shards")).sample(units, at_most))


def _matches(source: Source, unit: str) -> Iterator[tuple[ImageRecord, ImageMatch]]:
    """Judge the detections of a shard's images above the operating scores."""
    found = _detections(source, unit)
    sought = source.row.categories.keys()
    annotations, _ = source.images.read_annotations(unit)
    for record in read_images(source.images.artifact, unit)[0]:
        if record.key not in annotations:  # set aside by ingest for its annotation
            continue
        objects = [replace(thing, category=source.word(thing.category)) for thing in annotations[record.key].objects]
        yield record, match_image(found.get(record.key, []), objects, source.iou, sought)


def _detections(source: Source, unit: str) -> Mapping[str, list[Detection]]:
    operating = {name: score.operating_score for name, score in source.row.categories.items()}
    regressed = source.row.regressed
    by_image: dict[str, list[Detection]] = {}
    for row in decode_detections(source.detections.read(unit), f"{source.detections.name}/{unit}"):
        box = row.regressed if regressed and row.regressed is not None else row.box
        by_image.setdefault(row.key, []).append(Detection(source.word(row.category), row.score, box))
    # Only better detections suppress, so that cutting at the operating score first changes nothing.
    shown = {key: above(found, operating) for key, found in by_image.items()}
    return {key: _suppressed(found, source.nms_iou) for key, found in shown.items()} if regressed else shown


def _suppressed(detections: Sequence[Detection], iou: float) -> list[Detection]:
    kept: list[Detection] = []
    for category in dict.fromkeys(entry.category for entry in detections):
        own = [entry for entry in detections if entry.category == category]
        boxes, scores = np.array([entry.box for entry in own]), np.array([entry.score for entry in own])
        kept.extend(own[index] for index in nms(boxes, scores, iou))
    return kept


def _note(seen: _Seen, record: ImageRecord, match: ImageMatch, lot: int) -> None:
    seen.images += 1
    if match.judged or match.missed:
        seen.drawn.append((lot, record, match))
    seen.missed.update(entry.category for entry in match.missed)
    for entry in match.judged:
        category = entry.detection.category
        if entry.right:
            seen.right[category] += 1
        elif entry.error is not None:
            seen.wrong[category, entry.error] += 1
            seen.failed.setdefault(category, []).append((record, entry))


def _worst(found: Sequence[tuple[ImageRecord, Judged]], at_most: int) -> list[tuple[ImageRecord, Judged]]:
    """Keep the failures of the highest scores, at most one of an image."""
    by_image: dict[str, tuple[ImageRecord, Judged]] = {}
    for record, entry in sorted(found, key=lambda pair: (-pair[1].detection.score, pair[0].key)):
        by_image.setdefault(record.key, (record, entry))
    return list(by_image.values())[:at_most]


def _pictures(seen: _Seen) -> tuple[Picture, ...]:
    return tuple(draw_picture(shown(record.key), decode_record(record), match) for _, record, match in seen.drawn)


def _failures(seen: _Seen, at_most: int) -> tuple[Failure, ...]:
    found = [pair for pairs in seen.failed.values() for pair in pairs]
    found.sort(key=lambda pair: (-pair[1].detection.score, pair[0].key))
    return tuple(draw_failure(shown(record.key), decode_record(record), entry) for record, entry in found[:at_most])
