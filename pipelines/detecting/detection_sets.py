"""Detections of a whole split, whichever stage made them: read shard by shard, capped, and as final boxes."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from pipelines.artifacts.detections import DetectionTable, decode_detection_table
from pipelines.artifacts.manifest import Manifest
from pipelines.detecting.detector_sources import DetectorSource
from pipelines.detecting.ground_truth import SplitTruth
from pipelines.engine.commits import Commit
from pipelines.engine.workspace import Artifact
from pipelines.shards.read_ahead import prepared_ahead
from sppnet.boxes import nms_by_category
from sppnet.errors import ArtifactError, ConfigError
from sppnet.evaluation.best_of_set import TopPerSet

Boxes = Literal["windows", "regressed"]
"""Which boxes of detections: the windows that were scored, or those after box regression where there are any."""

_AHEAD = 4
"""Shards that are read or being read at a time."""

PER_IMAGE = re.compile(r"([1-9][0-9]*)/image")
TopPerSetField = Annotated[int, Field(ge=1)] | Annotated[str, Field(pattern=f"^{PER_IMAGE.pattern}$")] | None
"""How many detections of a category are kept over a split: a number, `5/image` for 5 x its images, or None for all."""


def parse_top_per_set(value: int | str | None, images: int) -> int | None:
    """Return the number that a `TopPerSetField` stands for.

    Args:
        value: Of the config, or as it was typed.
        images: Images of the split.

    Raises:
        ConfigError: It is neither.
    """
    if value is None:
        return None
    text = str(value)
    per_image = PER_IMAGE.fullmatch(text)
    if per_image:
        return int(per_image[1]) * images
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(f"top-per-set: {text!r} is neither a number such as 30000 nor one per image such as 5/image")
    return int(text)


@dataclass(frozen=True)
class DetectionSet:
    """The detections of one split.

    Attributes:
        artifact: The detections artifact.
        manifest: Of the images.
        split: The split.
    """

    artifact: Artifact
    manifest: Manifest
    split: str

    @property
    def units(self) -> tuple[str, ...]:
        """The split's shards."""
        return self.manifest.units(self.split)

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The split's images, in order; detections refer to them by number."""
        return tuple(key for unit in self.units for key in self.manifest.keys(unit))

    @cached_property
    def _detector(self) -> DetectorSource:
        return DetectorSource.of_detections(self.artifact)[0]

    @cached_property
    def categories(self) -> tuple[str, ...]:
        """All that were scored, found or not, in the order of the SVMs."""
        return self._detector.info.categories

    def names_of(self, truth: SplitTruth) -> SplitTruth:
        """Return the split's objects under the detector's names: it may call categories otherwise than its data set.

        Raises:
            ConfigError: The data set has another category of such a name.
        """
        known = self.manifest.categories
        return truth.renamed({old: new for old, new in self._detector.renamed.items() if old in known})

    @cached_property
    def _numbers(self) -> tuple[Mapping[str, int], Mapping[str, int]]:
        return tuple({name: i for i, name in enumerate(names)} for names in (self.keys, self.categories))  # type: ignore[return-value]

    def check_scored(self) -> None:
        """Raise `ConfigError` if a shard of the split was not scored."""
        missing = sorted(set(self.units) - self.artifact.committed())
        if missing:
            raise ConfigError(
                f"split {self.split}: {len(missing)} of {len(self.units)} shards have no detections in "
                f"{self.artifact.name} (first: {missing[0]}); score that split, or finish the run, first"
            )

    def tables(self) -> Iterator[DetectionTable]:
        """Return the detections, a shard at a time, in terms of `keys` and `categories`; shards are read ahead.

        Raises:
            ArtifactError: A shard is missing or corrupt, or names an image that is not its own.
        """
        for unit, data in prepared_ahead(self.units, self.artifact.read, _AHEAD):
            yield self._table(unit, data.result())

    def table(self, commit: Commit) -> DetectionTable:
        """Return the detections of a shard whose commit is at hand, like `tables`."""
        return self._table(commit.unit, self.artifact.read_commit(commit))

    def _table(self, unit: str, data: bytes) -> DetectionTable:
        images, categories = self._numbers
        where = f"{self.artifact.name}/{unit}"
        table = decode_detection_table(data, where)
        own = set(self.manifest.keys(unit))
        for what, names, known in (("image", table.keys, own), ("category", table.categories, categories)):
            for name in names:
                if name not in known:
                    raise ArtifactError(f"{where}: {what} {name!r} does not belong to it")
        return DetectionTable(
            self.keys,
            self.categories,
            np.array([images[key] for key in table.keys], np.int32)[table.image],
            np.array([categories[name] for name in table.categories], np.int32)[table.category],
            table.scores,
            table.boxes,
            table.regressed,
        )

    def best(self, limit: int | None = None, without: Collection[str] = ()) -> Iterator[DetectionTable]:
        """Return the detections, a category at a time, by falling score: its best `limit` over the split, or all.

        One pass over the shards; an eighth more than `limit` detections a category are in memory.

        Args:
            limit: How many of a category.
            without: Images whose detections don't count.
        """
        kept = TopPerSet(limit, len(self.categories), 8)
        left_out = [number for number, key in enumerate(self.keys) if key in without]
        for table in self.tables():
            judged = table.select(~np.isin(table.image, left_out))
            boxes = np.concatenate([judged.boxes, judged.regressed], axis=1)
            kept.add(judged.category, judged.image, judged.scores, boxes)
        for number in range(len(self.categories)):
            found = kept.result(number)
            category = np.full(len(found), number, np.int32)
            boxes, regressed = found.values[:, :4], found.values[:, 4:]
            yield DetectionTable(
                self.keys, self.categories, found.images.astype(np.int32), category, found.scores, boxes, regressed
            )


def final_boxes(table: DetectionTable, kind: Boxes, nms_iou: float) -> DetectionTable:
    """Return detections with the boxes that count, in `boxes`; nothing is in `regressed` any more.

    Regressed boxes move onto each other, and are suppressed once more, as the release's evaluation does.

    Args:
        table: Whole images, in any order.
        kind: Which boxes count.
        nms_iou: Of two regressed boxes of an image and category that overlap more, the lower is suppressed.
    """
    none = np.full_like(table.regressed, np.nan)
    columns = (table.keys, table.categories, table.image, table.category, table.scores)
    if kind == "windows":
        return DetectionTable(*columns, table.boxes, none)
    boxes = np.where(table.has_regressed[:, None], table.regressed, table.boxes)
    moved = DetectionTable(*columns, boxes, none)
    groups = table.image.astype(np.int64) * len(table.categories) + table.category
    return moved.select(np.sort(nms_by_category(boxes, table.scores, groups, nms_iou)))
