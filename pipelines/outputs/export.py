"""Writes the detections of a split in one format, streaming over shards."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from pipelines.artifacts.detections import DetectionTable, write_detections
from pipelines.detecting.detection_sets import DetectionSet, final_boxes, parse_top_per_set
from pipelines.detecting.detector_sources import DetectorSource
from pipelines.engine.store import LocalStore, Store, open_store
from pipelines.outputs.coco import write_coco
from pipelines.outputs.ids import Numbers, category_numbers, image_numbers
from pipelines.outputs.text import write_det, write_voc
from pipelines.shards.reading import IngestedImages
from sppnet.errors import ConfigError

Format = Literal["coco", "voc", "det", "parquet"]
FORMATS: tuple[Format, ...] = get_args(Format)
PARQUET_FILE = "detections_{split}.parquet"


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


@dataclass(frozen=True, slots=True)
class Written:
    """What an export wrote.

    Attributes:
        files: Their places.
        detections: How many detections are in them.
        boxes: Which boxes: `windows`, `regressed`, or `both`.
    """

    files: tuple[str, ...]
    detections: int
    boxes: str


def check_format(name: str) -> Format:
    """Return the format of that name; raise `ConfigError` for another."""
    for known in FORMATS:
        if name == known:
            return known
    raise ConfigError(f"format: {name!r} is not one of {', '.join(FORMATS)}")


def export(detected: DetectionSet, images: IngestedImages, options: ExportOptions, out: str) -> Written:
    """Write a split's detections below `out`; what is there under the same names is replaced when all is written.

    Args:
        detected: The detections.
        images: The images that they belong to.
        options: What to write.
        out: A folder, or an object-store prefix.

    Raises:
        ConfigError: The split is not scored, the detector has no regressors, or numbers are missing.
        ArtifactError: A shard is missing or corrupt.
    """
    detected.check_scored()
    kind = _kind(detected, options)
    counted = _Counted()
    store = open_store(out)
    with _aside(store) as folder:
        tables = counted.all(_tables(detected, options, kind))
        names = _publish(_write(tables, detected, images, options, folder), store)
    return Written(names, counted.rows, kind)


def _kind(detected: DetectionSet, options: ExportOptions) -> Literal["windows", "regressed", "both"]:
    regressors = any(source.regressors for source in DetectorSource.of_detections(detected.artifact))
    if options.boxes == "regressed" and not regressors:
        raise ConfigError(f"boxes: {detected.artifact.name} was made without box regressors; take windows")
    if options.format == "parquet":
        return "both"
    if options.boxes == "best":
        return "regressed" if regressors else "windows"
    return options.boxes


class _Counted:
    """Counts what passes through."""

    rows = 0

    def all(self, tables: Iterator[DetectionTable]) -> Iterator[DetectionTable]:
        for table in tables:
            self.rows += len(table)
            yield table


def _tables(detected: DetectionSet, options: ExportOptions, kind: str) -> Iterator[DetectionTable]:
    limit = parse_top_per_set(options.top_per_set, len(detected.keys))
    for table in detected.tables() if limit is None else detected.best(limit):
        above = table if options.threshold is None else table.select(table.scores > options.threshold)
        if kind == "both":
            yield above
        else:
            yield final_boxes(above, "regressed" if kind == "regressed" else "windows", options.nms_iou)


def _write(
    tables: Iterator[DetectionTable],
    detected: DetectionSet,
    images: IngestedImages,
    options: ExportOptions,
    folder: Path,
) -> list[Path]:
    split = detected.split
    if options.format == "voc":
        return write_voc(tables, detected.categories, split, folder)
    if options.format == "parquet":
        path = folder / PARQUET_FILE.format(split=split)
        with path.open("wb") as sink:
            write_detections(tables, sink)
        return [path]
    numbers = _numbers(detected, images, options)
    if options.format == "det":
        return write_det(tables, numbers, split, folder)
    return write_coco(tables, numbers, split, folder)


def _numbers(detected: DetectionSet, images: IngestedImages, options: ExportOptions) -> Numbers:
    """Return given numbers, else the data set's; COCO's images are counted from 1 where the data set has none."""
    given = options.numbers or Numbers({}, {})
    places = dict(given.images) or image_numbers(images, detected.split)
    if not places and options.format == "det":
        raise ConfigError(
            f"the images of split {detected.split} have no numbers; name the list that has them with --numbers"
        )
    if not places:
        places = {key: number for number, key in enumerate(detected.keys, 1)}
    return Numbers(places, dict(given.categories) or category_numbers(detected.manifest))


@contextmanager
def _aside(store: Store) -> Iterator[Path]:
    """Return a folder to write in before the files appear: beside their place, or a temporary one for object stores."""
    beside = None
    try:
        if isinstance(store, LocalStore):
            beside = store.root
            beside.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".writing-", dir=beside))
    except OSError as error:
        raise ConfigError(f"{store.uri} can't be written: {error.strerror or error}") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _publish(files: Sequence[Path], store: Store) -> tuple[str, ...]:
    for path in files:
        if isinstance(store, LocalStore):
            path.replace(store.root / path.name)
        else:
            store.put(path.name, path.read_bytes())
    return tuple(f"{store.uri}/{path.name}" for path in files)
