"""All objects and detections of the split that a detector was evaluated on, as its protocol takes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from jobs.report.read.detection import DetectorScore, Evaluation
from pipelines.detecting.detection_sets import Boxes, DetectionSet, final_boxes, parse_top_per_set
from pipelines.detecting.ground_truth import CategoryTruth, SplitTruth, gather_truth
from pipelines.engine.workspace import Artifact
from pipelines.shards.reading import IngestedImages
from sppnet.arrays import Integers
from sppnet.evaluation.curves import Detections, GroundTruth
from sppnet.evaluation.det import det_thresholds, match_det
from sppnet.evaluation.error_kinds import SplitObjects
from sppnet.evaluation.voc import match_voc


@dataclass(frozen=True)
class Source:
    """Where a detector's detections are and how they were evaluated.

    Attributes:
        images: The images.
        detections: The detections artifact.
        evaluation: Their evaluation, of which the chosen row is looked at.
        iou: Overlap from which a detection is right.
        nms_iou: Overlap at which regressed boxes were suppressed once more.
        top_per_set: Only so many of a category counted, see `EvaluateConfig`.
        seed: Decides the lot.
        words: What the evaluation calls each category.
    """

    images: IngestedImages
    detections: Artifact
    evaluation: Evaluation
    iou: float
    nms_iou: float
    top_per_set: int | str | None
    seed: int
    words: Mapping[str, str] = field(default_factory=dict)

    @property
    def row(self) -> DetectorScore:
        """The detector that is looked at."""
        return self.evaluation.chosen_row

    @property
    def units(self) -> tuple[str, ...]:
        """The split's shards."""
        return self.images.manifest.units(self.evaluation.split)

    def word(self, category: str) -> str:
        """Return what the evaluation calls a category."""
        return self.words.get(category, category)

    @cached_property
    def _found(self) -> DetectionSet:
        return DetectionSet(self.detections, self.images.manifest, self.evaluation.split)

    @property
    def keys(self) -> tuple[str, ...]:
        """The split's images, in order."""
        return self._found.keys

    @cached_property
    def truth(self) -> SplitTruth:
        """The split's objects by category."""
        notes = (note for unit in self.units for note in self.images.read_annotations(unit)[0].values())
        return self._found.names_of(gather_truth(self.keys, notes))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The detector's categories, then all others of the split."""
        return tuple(dict.fromkeys((*self._found.categories, *self.truth.categories)))

    @cached_property
    def objects(self) -> SplitObjects:
        """All objects, categories numbered as `names` has them."""
        parts = [self.truth.of(name) for name in self.names]
        images = [number for part in parts for number in part.images]
        boxes = [thing.box for part in parts for thing in part.things]
        aside = [flag for part in parts for flag in self._set_aside(part)]
        objects = GroundTruth.of(np.array(images, np.int64), boxes, aside)
        categories = np.repeat(np.arange(len(parts)), [len(part.things) for part in parts])
        is_det = self.evaluation.protocol == "det"
        needed = det_thresholds(objects.boxes) if is_det else np.full(len(objects), self.iou)
        return SplitObjects(objects, categories, needed)

    def _set_aside(self, part: CategoryTruth) -> list[bool]:
        """Tell which objects of a category are neither found nor missed, by the protocol."""
        protocol = self.evaluation.protocol
        ignored = frozenset(part.ignored) if protocol != "voc" else frozenset()
        return [
            image in ignored or (thing.difficult and protocol != "det") or (thing.crowd and protocol == "coco")
            for image, thing in zip(part.images, part.things, strict=True)
        ]

    def judged(self) -> Iterator[tuple[Detections, NDArray[np.int8]]]:
        """Return each category's detections, as `evaluate` takes them, and what became of each."""
        units = [self.images.manifest.annotations(unit) for unit in self.units]
        unusable = {entry.key for commit in self.images.artifact.commits(units) for entry in commit.quarantined}
        limit = parse_top_per_set(self.top_per_set, len(self.keys))
        kind: Boxes = "regressed" if self.row.regressed else "windows"
        for number, table in enumerate(self._found.best(limit, unusable)):
            final = final_boxes(table, kind, self.nms_iou)
            found = Detections.of(self.truth.numbers[final.image], final.boxes, final.scores)
            yield self._judge(number, found)

    def _judge(self, number: int, found: Detections) -> tuple[Detections, NDArray[np.int8]]:
        ignored = self.truth.of(self.names[number]).ignored
        if self.evaluation.protocol == "coco":
            found = found.select(~np.isin(found.images, ignored))
        own = self.objects.objects.select(self.objects.categories == number)
        if self.evaluation.protocol == "det":
            return found, match_det(own, found, ignored)
        return found, match_voc(own, found, self.iou)

    @cached_property
    def places(self) -> Integers:
        """The place of each image among `keys`, by its number in `objects` and detections."""
        return np.argsort(self.truth.numbers)
