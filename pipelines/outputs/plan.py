"""What is to be written of a split's detections: checked before anything is computed or written."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from pipelines.artifacts.annotations import Number
from pipelines.artifacts.image_tars import ImageRecord
from pipelines.artifacts.manifest import Manifest
from pipelines.detecting.detection_sets import parse_top_per_set
from pipelines.engine.fingerprint import content_digest
from pipelines.outputs.ids import Numbers
from pipelines.outputs.names import FileNames
from pipelines.outputs.text import check_voc_names
from sppnet.errors import ConfigError
from sppnet.sizes import Size

logger = logging.getLogger(__name__)

Format = Literal[
    "coco",
    "voc",
    "det",
    "parquet",
    "csv",
    "yolo",
    "yolo-labels",
    "fiftyone",
    "huggingface",
    "huggingface-parquet",
]
FORMATS: tuple[Format, ...] = get_args(Format)
Boxes = Literal["windows", "regressed", "both"]
_SUFFIXES: Mapping[Format, str] = {"parquet": ".parquet", "coco": ".json", "csv": ".csv"}
"""Of the formats of which each shard can have a file of its own."""


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What to write.

    Attributes:
        format: One of `FORMATS`. `parquet` keeps windows and regressed boxes side by side, as they are stored; the
            others write the boxes that count.
        boxes: Which boxes count: `windows`, `regressed`, or `best`: regressed if the detector has regressors.
        nms_iou: Regressed boxes are suppressed once more at this overlap, as before they are evaluated.
        threshold: Only detections with a higher score are written; None writes all.
        top_per_set: At most so many detections of a category over the split, the best: see `parse_top_per_set`.
        numbers: Numbers of images and categories that take the place of the data set's own; None for none.
    """

    format: Format
    boxes: Literal["windows", "regressed", "best"] = "best"
    nms_iou: float = 0.3
    threshold: float | None = None
    top_per_set: int | str | None = None
    numbers: Numbers | None = None

    @property
    def by_shard(self) -> bool:
        """Whether each shard can have a file of its own: not where the best of all are chosen."""
        return self.format in _SUFFIXES and self.top_per_set is None

    @property
    def suffix(self) -> str:
        """That of a shard's file."""
        return _SUFFIXES[self.format]

    @property
    def numbered(self) -> bool:
        """Whether images and categories are written as numbers."""
        return self.format in ("coco", "det")

    def to_json(self) -> dict[str, Any]:
        """Return the options as plain values, given numbers as a digest."""
        return {
            "format": self.format,
            "boxes": self.boxes,
            "threshold": self.threshold,
            "top_per_set": self.top_per_set,
            "numbers": None if self.numbers is None else content_digest(self.numbers.to_json()),
        }


@dataclass(frozen=True, slots=True)
class DetectorFacts:
    """What is known of a detector's output before it is used.

    Attributes:
        categories: All that it scores, in the order of its SVMs.
        numbers: Those of the data set that it was trained on, by category.
        words: Words for people by category, where categories are codes such as wnids.
        regressors: Whether it has box regressors.
    """

    categories: tuple[str, ...]
    numbers: Mapping[str, Number]
    words: Mapping[str, str]
    regressors: bool


@dataclass(frozen=True, slots=True)
class ExportPlan:
    """What is written of one split, and which numbers stand for what.

    Attributes:
        options: As they were asked for.
        split: The split.
        boxes: Which boxes are written.
        detector: Whose detections they are.
        numbers: Of the split's images and the detector's categories, for formats that have them. Images that have none
            are left out.
        names: What the split's images are called.
        sizes: Tells the sizes of the split's images by key; called when they are written by image.
        records: Gives those images; called where they are written too.
    """

    options: ExportOptions
    split: str
    boxes: Boxes
    detector: DetectorFacts
    numbers: Numbers
    names: FileNames
    sizes: Callable[[], Mapping[str, Size]]
    records: Callable[[], Iterable[Iterable[ImageRecord]]]


def check_format(name: str) -> Format:
    """Return the format of that name; raise `ConfigError` for another."""
    for known in FORMATS:
        if name == known:
            return known
    raise ConfigError(f"format: {name!r} is not one of {', '.join(FORMATS)}")


def plan_export(
    options: ExportOptions,
    detector: DetectorFacts,
    manifest: Manifest,
    split: str,
    *,
    known: Callable[[], Mapping[str, Number]],
    count: bool,
    sizes: Callable[[], Mapping[str, Size]] = dict,
    records: Callable[[], Iterable[Iterable[ImageRecord]]] = tuple,
) -> ExportPlan:
    """Check that a split's detections can be written as they are asked for.

    Args:
        options: What to write.
        detector: What makes, or has made, the detections.
        manifest: Of the images that they are of.
        split: The split.
        known: Tells the numbers that the images have in their data set, if they have any; called for formats that
            have numbers, unless they are given.
        count: Whether images that have no numbers are counted from 1, in the order of their shards, for DET's
            submission too; COCO's are anyway.
        sizes: See `ExportPlan`.
        records: See `ExportPlan`.

    Raises:
        ConfigError: The detector has no regressors; an image or category has no number, or a name that the format
            can't hold; a limit over the set is none.
    """
    parse_top_per_set(options.top_per_set, 1)
    keys = [key for unit in manifest.units(split) for key in manifest.keys(unit)]
    if options.format == "voc":
        check_voc_names(detector.categories, split)
    numbers = Numbers({}, {})
    if options.numbered:
        given = (options.numbers or Numbers({}, {})).of_keys(keys)
        are_given = options.numbers is not None and bool(options.numbers.images)
        places = given.images if are_given else known()
        if places and not are_given:
            keys = _numbered(keys, places, split)
        if not places and options.format == "det" and not count:
            raise ConfigError(
                f"the images of split {split} have no numbers; name the list that has them with --numbers"
            )
        if not (places or are_given):
            places = {key: number for number, key in enumerate(keys, 1)}
        numbers = _numbers(given, places, keys, detector)
    names = FileNames(manifest, manifest.units(split))
    return ExportPlan(options, split, _boxes(options, detector), detector, numbers, names, sizes, records)


def _numbered(keys: Sequence[str], own: Mapping[str, Number], split: str) -> list[str]:
    """Return the images that have numbers in their data set: not those whose annotations ingest set aside."""
    without = [key for key in keys if key not in own]
    if without:
        logger.warning(
            "split %s: the detections of %d images are left out, the first %s: ingest set their annotations aside, and "
            "with them their numbers; --numbers can give them",
            split,
            len(without),
            without[0],
        )
    return [key for key in keys if key in own]


def _boxes(options: ExportOptions, detector: DetectorFacts) -> Boxes:
    if options.boxes == "regressed" and not detector.regressors:
        raise ConfigError("boxes: the detector was made without box regressors; take windows")
    if options.format == "parquet":
        return "both"
    if options.boxes == "best":
        return "regressed" if detector.regressors else "windows"
    return options.boxes


def _numbers(given: Numbers, places: Mapping[str, Number], keys: Sequence[str], detector: DetectorFacts) -> Numbers:
    """Return the numbers of the split's images and of the detector's categories; all must have one."""
    found = Numbers(places, dict(given.categories) or detector.numbers)
    return Numbers(
        {key: found.of_image(key) for key in keys},
        {category: found.of_category(category) for category in detector.categories},
    )
