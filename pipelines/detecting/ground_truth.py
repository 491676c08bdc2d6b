"""The objects of a whole split by category, as the protocols of detection take them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from pipelines.artifacts.annotations import ImageAnnotation, Number, ObjectAnnotation
from pipelines.artifacts.metrics import DetectionProtocol
from pipelines.shards.reading import IngestedImages
from sppnet.arrays import Integers
from sppnet.boxes import box_areas
from sppnet.errors import ConfigError
from sppnet.evaluation.coco import CocoObjects
from sppnet.evaluation.curves import Detections, GroundTruth
from sppnet.evaluation.det import match_det
from sppnet.evaluation.voc import match_voc


@dataclass
class CategoryTruth:
    """The objects of one category, and the images that don't judge it, by their numbers."""

    images: list[int] = field(default_factory=list)
    things: list[ObjectAnnotation] = field(default_factory=list)
    ignored: list[int] = field(default_factory=list)

    def objects(self) -> GroundTruth:
        """Return the objects as VOC's and DET's rules take them."""
        boxes, difficult = [thing.box for thing in self.things], [thing.difficult for thing in self.things]
        return GroundTruth.of(np.array(self.images, np.int64), boxes, difficult)

    def match(self, found: Detections, protocol: DetectionProtocol, iou: float) -> NDArray[np.int8]:
        """Tell what becomes of each detection of the category, as `match_voc` or `match_det` does.

        Args:
            found: The detections.
            protocol: `voc` or `det`.
            iou: Overlap from which a detection is right by VOC's rule.
        """
        if protocol == "det":
            return match_det(self.objects(), found, self.ignored)
        return match_voc(self.objects(), found, iou)

    def coco_objects(self) -> CocoObjects:
        """Return the objects as COCO's rule takes them: those of images that judge the category."""
        objects = self.objects()
        outlines = np.array([np.nan if thing.area is None else thing.area for thing in self.things])
        areas = np.where(np.isnan(outlines), box_areas(objects.boxes), outlines)
        crowd = np.array([thing.crowd for thing in self.things], bool)
        judged = ~np.isin(objects.images, self.ignored)
        return CocoObjects(objects.select(judged), areas[judged], crowd[judged])


@dataclass(frozen=True, slots=True)
class SplitTruth:
    """The objects of a split.

    Attributes:
        categories: By category; one that has no objects, and is judged everywhere, may be absent.
        numbers: int64 `[images]`: the number of each image, in the order of the split's keys. Of equal scores in two
            images that of the lower one ranks first: they count by the data set's own numbers if all images have such.
    """

    categories: Mapping[str, CategoryTruth]
    numbers: Integers

    def of(self, category: str) -> CategoryTruth:
        """Return the objects of a category; of one that has none, nothing."""
        return self.categories.get(category, CategoryTruth())

    def renamed(self, names: Mapping[str, str]) -> SplitTruth:
        """Return the objects with other names of some categories.

        Raises:
            ConfigError: There are objects of such a name already.
        """
        for old, new in names.items():
            if new in self.categories and new not in names:
                raise ConfigError(
                    f"'{old}' is called '{new}', but the images hold objects of that name; choose another"
                )
        return replace(self, categories={names.get(name, name): one for name, one in self.categories.items()})


def gather_truth(keys: Iterable[str], annotations: Iterable[ImageAnnotation]) -> SplitTruth:
    """Sort a split's objects by category.

    Args:
        keys: The split's images, in order.
        annotations: Of those of them whose annotation could be used.
    """
    places = {key: place for place, key in enumerate(keys)}
    own: dict[int, Number | None] = {}
    found: dict[str, CategoryTruth] = {}
    for annotation in annotations:
        place = places[annotation.key]
        own[place] = annotation.index
        for thing in annotation.objects:
            entry = found.setdefault(thing.category, CategoryTruth())
            entry.images.append(place)
            entry.things.append(thing)
        for category in annotation.ignored:
            found.setdefault(category, CategoryTruth()).ignored.append(place)
    numbers = _numbers(own, len(places))
    for entry in found.values():
        entry.images = numbers[entry.images].tolist()
        entry.ignored = numbers[entry.ignored].tolist()
    return SplitTruth(found, numbers)


def read_truth(images: IngestedImages, split: str) -> SplitTruth:
    """Read a split's objects."""
    units = images.manifest.units(split)
    keys = (key for unit in units for key in images.manifest.keys(unit))
    return gather_truth(keys, (note for unit in units for note in images.read_annotations(unit)[0].values()))


def not_judged(images: IngestedImages, split: str) -> frozenset[str]:
    """Return the images that ingest set aside: where an annotation can't be used, no detection is right or wrong."""
    units = [images.manifest.annotations(unit) for unit in images.manifest.units(split)]
    return frozenset(entry.key for commit in images.artifact.commits(units) for entry in commit.quarantined)


def _numbers(own: Mapping[int, Number | None], count: int) -> Integers:
    """Return a number for each image: the rank of its data set's number, or its place where some have none."""
    kinds = {type(number) for number in own.values()}
    if len(kinds) != 1 or kinds == {type(None)}:
        return np.arange(count)
    ranked = sorted(own, key=lambda place: own[place])  # type: ignore[arg-type, return-value]
    order = [*ranked, *(place for place in range(count) if place not in own)]
    numbers = np.empty(count, np.int64)
    numbers[order] = np.arange(count)
    return numbers
