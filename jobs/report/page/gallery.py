"""The detector's detections on photographs: the best and the worst of each category, some by lot, and failures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from jobs.report.plots.pictures import Failure, draw_failure, plain_picture
from jobs.report.read.analysis import Analysis
from jobs.report.read.examples import Example, choose_examples, found_at
from jobs.report.read.failures import worst_failures
from pipelines.artifacts.annotations import Box
from pipelines.artifacts.image_tars import ImageRecord
from pipelines.datasets.keys import shown
from pipelines.shards.reading import decode_record, read_images
from sppnet.arrays import Pixels
from sppnet.evaluation.curves import IGNORED, TRUE_POSITIVE
from sppnet.evaluation.error_kinds import ERRORS
from sppnet.seeds import derive_seed

RIGHT, ASIDE, MISSED = "right", "aside", "missed"
_SHAPES = ((48, 320, 24), (160, 220, 14), (100_000, 150, 6))
"""Of up to so many pictures: how high each is in pixels, and how many detections are on it at most, the best."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a split is looked at and shown.

    Attributes:
        pictures: Images drawn by lot.
        examples: Images that show the best and the worst of categories, about.
        each: Of each category at most so many of each.
        failures: False positives shown.
        shards: Shards whose windows and images are read; of more, so many are drawn by lot.
        octets: Of all pictures together, about.
    """

    pictures: int = 24
    examples: int = 120
    each: int = 4
    failures: int = 24
    shards: int = 64
    octets: int = 3_000_000


@dataclass(frozen=True, slots=True)
class Mark:
    """A box on a picture.

    Attributes:
        category: The category's number.
        box: Pixels of the picture.
        what: RIGHT, ASIDE, MISSED or one of `ERRORS`.
        score: Of the detection; of a MISSED object that of the detection which finds it, None if none does.
        visible: Whether it is seen at the operating scores.
    """

    category: int
    box: Box
    what: str
    score: float | None
    visible: bool


@dataclass(frozen=True, slots=True)
class Shot:
    """A photograph and all that is marked on it.

    Attributes:
        key: What people call the image.
        uri: The JPEG as a data URI.
        width: Pixels of the picture.
        height: Likewise.
        marks: The boxes, lowest score first.
        roles: What it is an example of: BEST or WORST, and the category's number.
        by_lot: Whether it was drawn by lot.
    """

    key: str
    uri: str
    width: int
    height: int
    marks: tuple[Mark, ...]
    roles: tuple[tuple[str, int], ...]
    by_lot: bool

    def count(self, *what: str) -> int:
        """Count the visible boxes of some kinds."""
        return sum(mark.visible and mark.what in what for mark in self.marks)


@dataclass(frozen=True, slots=True)
class Gallery:
    """The detector's detections on photographs.

    Attributes:
        detector: The detector's name.
        split: The split.
        categories: What the numbers of categories stand for.
        images_seen: Images that could be drawn.
        images_total: Images of the split.
        shots: Photographs: those by lot, then examples.
        failures: False positives of the highest scores, highest first.
        left_out: Photographs that were left out for the page's size.
    """

    detector: str
    split: str
    categories: tuple[str, ...]
    images_seen: int
    images_total: int
    shots: tuple[Shot, ...]
    failures: tuple[Failure, ...]
    left_out: int = 0


def make_gallery(analysis: Analysis, limits: Limits) -> Gallery:
    """Choose images, read the shards that hold them, and draw them.

    Raises:
        ArtifactError: A shard of images is missing or corrupt.
    """
    source = analysis.source
    units = {unit: source.images.manifest.keys(unit) for unit in analysis.units}
    places = {key: place for place, key in enumerate(source.keys)}
    among = [places[key] for keys in units.values() for key in keys]
    each = max(1, min(limits.each, limits.examples // max(1, 2 * len(analysis.judged))))
    examples = choose_examples(analysis, each, among) if limits.examples else []
    marked = _Marks(analysis)
    lot = list(islice(filter(marked.any, _by_lot(analysis, among)), limits.pictures))
    failures = worst_failures(analysis, frozenset(among), limits.failures)
    chosen = list(dict.fromkeys((*lot, *(example.image for example in examples))))
    wanted = {source.keys[place] for place in (*chosen, *(failure.place for failure in failures))}
    records = _records(analysis, units, wanted)
    shots, left_out = _shots(analysis, marked, records, chosen, examples, frozenset(lot), limits)
    return Gallery(
        detector=source.row.name,
        split=source.evaluation.split,
        categories=tuple(source.word(name) for name in source.names),
        images_seen=len(among),
        images_total=len(source.keys),
        shots=shots,
        failures=tuple(
            draw_failure(shown(key), decode_record(records[key]), failure)
            for key, failure in ((source.keys[failure.place], failure) for failure in failures)
            if key in records
        ),
        left_out=left_out,
    )


def _records(analysis: Analysis, units: Mapping[str, Sequence[str]], wanted: set[str]) -> dict[str, ImageRecord]:
    """Read the images that are drawn, one shard at a time; those that ingest set aside are not there."""
    images = analysis.source.images.artifact
    found: dict[str, ImageRecord] = {}
    for unit in sorted(units):
        if not wanted.isdisjoint(units[unit]):
            found |= {record.key: record for record in read_images(images, unit)[0] if record.key in wanted}
    return found


def _by_lot(analysis: Analysis, places: Iterable[int]) -> list[int]:
    """Order images by a lot of their keys, so that more of them are the same ones and further ones."""
    source = analysis.source
    return sorted(places, key=lambda place: (derive_seed(source.seed, "report", source.keys[place]), place))


def _shots(
    analysis: Analysis,
    marked: _Marks,
    records: Mapping[str, ImageRecord],
    chosen: Sequence[int],
    examples: Sequence[Example],
    lot: frozenset[int],
    limits: Limits,
) -> tuple[tuple[Shot, ...], int]:
    """Draw images as long as the page has room for them."""
    height, boxes = next((height, boxes) for most, height, boxes in _SHAPES if len(chosen) <= most)
    roles: dict[int, list[tuple[str, int]]] = {}
    for example in examples:
        roles.setdefault(example.image, []).append((example.role, example.category))
    shots: list[Shot] = []
    octets = 0
    there = [place for place in chosen if analysis.source.keys[place] in records]
    for place in there:
        if octets >= limits.octets:
            break
        key = analysis.source.keys[place]
        pixels: Pixels = decode_record(records[key])
        uri, size, factor = plain_picture(pixels, height)
        octets += len(uri)
        marks = tuple(marked.of(place, factor, boxes))
        shots.append(Shot(shown(key), uri, *size, marks, tuple(roles.get(place, ())), place in lot))
    return tuple(shots), len(there) - len(shots)


class _Marks:
    """The boxes of each image."""

    def __init__(self, analysis: Analysis) -> None:
        source, judged = analysis.source, analysis.judged
        self._analysis = analysis
        self._found_at = found_at(analysis)
        self._objects = source.places[source.objects.objects.images]
        none = np.zeros(0, np.int64)
        images = [source.places[np.asarray(one.detections.images, np.int64)] for one in judged]
        self._images = np.concatenate([none, *images])
        self._rows = np.concatenate([none, *(np.arange(len(own)) for own in images)])
        self._categories = np.repeat(np.arange(len(judged)), [len(own) for own in images])
        self._order = np.argsort(self._images, kind="stable")
        self._sorted = self._images[self._order]

    def any(self, place: int) -> bool:
        """Tell whether an image has anything visible."""
        return any(mark.visible for mark in self.of(place, 1.0, 1))

    def of(self, place: int, factor: float, most: int) -> list[Mark]:
        """Return an image's boxes, magnified: missed objects, then detections, lowest score first."""
        return [*self._missed(place, factor), *self._detections(place, factor)[-most:]]

    def _missed(self, place: int, factor: float) -> list[Mark]:
        truth, operating = self._analysis.source.objects, self._analysis.operating
        marks = []
        for row in np.flatnonzero(self._objects == place):
            category = int(truth.categories[row])
            if category < len(operating) and not truth.objects.difficult[row]:
                score = float(self._found_at[row])
                box = _scaled(truth.objects.boxes[row], factor)
                never = np.isinf(score)
                marks.append(Mark(category, box, MISSED, None if never else score, score < operating[category]))
        return marks

    def _detections(self, place: int, factor: float) -> list[Mark]:
        start, end = np.searchsorted(self._sorted, (place, place + 1))
        marks = []
        for at in self._order[start:end]:
            category, row = int(self._categories[at]), int(self._rows[at])
            one = self._analysis.judged[category]
            score = float(one.scores[row])
            what = {TRUE_POSITIVE: RIGHT, IGNORED: ASIDE}.get(int(one.outcomes[row])) or ERRORS[one.errors[row]]
            visible = score >= self._analysis.operating[category]
            marks.append(Mark(category, _scaled(one.detections.boxes[row], factor), what, score, bool(visible)))
        marks.sort(key=lambda mark: (mark.visible, mark.score or 0.0))
        return marks


def _scaled(box: np.ndarray, factor: float) -> Box:
    x0, y0, x1, y1 = (round(float(value) * factor, 1) for value in box)
    return x0, y0, x1, y1
