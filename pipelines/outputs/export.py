"""Writes the detections of a split in one format: shard by shard, or all of them, streaming over the shards."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from pipelines.artifacts.detections import DetectionTable, encode_detection_table, write_detections
from pipelines.detecting.detection_sets import DetectionSet, final_boxes, parse_top_per_set
from pipelines.engine.commits import Commit
from pipelines.engine.store import LocalStore, Store
from pipelines.outputs.by_image import (
    SplitImages,
    write_fiftyone,
    write_hugging_face,
    write_hugging_face_parquet,
    write_yolo,
)
from pipelines.outputs.coco import encode_coco, write_coco
from pipelines.outputs.plan import Boxes, ExportPlan, Format
from pipelines.outputs.table import encode_csv, write_csv
from pipelines.outputs.text import write_det, write_voc
from sppnet.errors import ConfigError

PARQUET_FILE = "detections_{split}.parquet"
NUMBERS_FILE = "{format}_{split}_numbers.json"
_BY_IMAGE: Mapping[Format, Callable[[Iterator[DetectionTable], SplitImages, Path], list[Path]]] = {
    "yolo": write_yolo,
    "yolo-labels": partial(write_yolo, scores=False),
    "fiftyone": write_fiftyone,
    "huggingface": write_hugging_face,
    "huggingface-parquet": write_hugging_face_parquet,
}


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
    boxes: Boxes


def export(detected: DetectionSet, plan: ExportPlan, store: Store) -> Written:
    """Write a split's detections; what is there under the same names is replaced when all is written.

    Args:
        detected: The detections.
        plan: What to write.
        store: A folder, or an object-store prefix.

    Raises:
        ConfigError: The split is not scored.
        ArtifactError: A shard is missing or corrupt.
    """
    detected.check_scored()
    counted = _Counted()
    with aside(store) as folder:
        names = publish(_write(counted.all(_tables(detected, plan)), plan, folder), store, folder)
    return Written((*names, *write_numbers(plan, store)), counted.rows, plan.boxes)


def encode_shard(detected: DetectionSet, plan: ExportPlan, commit: Commit) -> bytes:
    """Return the file of a shard's detections, in a format of which each shard can have one.

    Raises:
        ArtifactError: The shard is missing or corrupt.
    """
    table = _counting(detected.table(commit), plan)
    if plan.options.format == "coco":
        return encode_coco(table, plan.numbers)
    if plan.options.format == "csv":
        return encode_csv(table, plan.names.of)
    return encode_detection_table(table, plan.names.of)


def write_numbers(plan: ExportPlan, store: Store) -> tuple[str, ...]:
    """Write which number stands for which image and category, for formats that have numbers; return the file's place.

    The file is a COCO data set without annotations, and what `Numbers.parse` reads.
    """
    if not plan.options.numbered:
        return ()
    name = NUMBERS_FILE.format(format=plan.options.format, split=plan.split)
    store.put(name, plan.numbers.to_json(plan.detector.words, plan.names.of))
    return (f"{store.uri}/{name}",)


class _Counted:
    """Counts what passes through."""

    rows = 0

    def all(self, tables: Iterator[DetectionTable]) -> Iterator[DetectionTable]:
        for table in tables:
            self.rows += len(table)
            yield table


def _tables(detected: DetectionSet, plan: ExportPlan) -> Iterator[DetectionTable]:
    limit = parse_top_per_set(plan.options.top_per_set, len(detected.keys))
    for table in detected.tables() if limit is None else detected.best(limit):
        yield _counting(table, plan)


def _counting(table: DetectionTable, plan: ExportPlan) -> DetectionTable:
    """Return the detections that are written, with the boxes that count."""
    threshold = plan.options.threshold
    above = table if threshold is None else table.select(table.scores > threshold)
    if plan.options.numbered:
        images, place = np.unique(above.image, return_inverse=True)
        known = np.array([above.keys[image] in plan.numbers.images for image in images.tolist()], bool)
        above = above.select(known[place])
    return above if plan.boxes == "both" else final_boxes(above, plan.boxes, plan.options.nms_iou)


def _write(tables: Iterator[DetectionTable], plan: ExportPlan, folder: Path) -> list[Path]:
    split, numbers = plan.split, plan.numbers
    if plan.options.format == "voc":
        return write_voc(tables, plan.detector.categories, split, folder)
    if plan.options.format == "det":
        return write_det(tables, numbers, split, folder)
    if plan.options.format == "coco":
        return write_coco(tables, numbers, split, folder)
    if plan.options.format == "csv":
        return write_csv(tables, plan.names.of, split, folder)
    if plan.options.format in _BY_IMAGE:
        images = SplitImages(split, plan.detector.categories, plan.sizes(), plan.names.of, plan.records)
        return _BY_IMAGE[plan.options.format](tables, images, folder)
    path = folder / PARQUET_FILE.format(split=split)
    with path.open("wb") as sink:
        write_detections(tables, sink, plan.names.of)
    return [path]


@contextmanager
def aside(store: Store) -> Iterator[Path]:
    """Return a folder to write in before the files appear: beside their place, or a temporary one for object stores.

    Raises:
        ConfigError: It can't be made.
    """
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


def publish(files: Sequence[Path], store: Store, folder: Path) -> tuple[str, ...]:
    """Put whole files into a store, each under its name below a folder, at once; return their places."""
    names = [path.relative_to(folder).as_posix() for path in files]
    for name, path in zip(names, files, strict=True):
        store.put_file(name, path)
    return tuple(f"{store.uri}/{name}" for name in names)
