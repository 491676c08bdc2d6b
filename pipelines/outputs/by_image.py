"""Detections an image at a time, for the libraries that keep data sets so: YOLO, FiftyOne, Hugging Face `datasets`.

All of a split's detections are in memory while they are sorted by image. Images in which nothing was found are written
too. Images themselves are in Parquet only: the other formats find them by their names below their folder, see
`FileNames`.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from pipelines.artifacts.detections import DetectionTable
from pipelines.artifacts.image_tars import ImageRecord
from pipelines.artifacts.object_rows import ObjectsRow, write_object_rows
from pipelines.shards.reading import IngestedImages, read_images
from sppnet.sizes import Size


@dataclass(frozen=True, slots=True)
class SplitImages:
    """The images that detections are written of.

    Attributes:
        split: Their split.
        categories: All that the detector scores, in the order of its SVMs.
        sizes: Sizes in pixels by key, as `image_sizes` gives them, in order.
        called: Returns the name of an image's file by its key.
        records: Gives the images themselves, shard by shard, as `image_records` does.
    """

    split: str
    categories: tuple[str, ...]
    sizes: Mapping[str, Size]
    called: Callable[[str], str]
    records: Callable[[], Iterable[Iterable[ImageRecord]]] = tuple


@dataclass(frozen=True, slots=True, eq=False)
class _Image:
    """What was found in an image: the number of the category, the score, and corners in pixels, by falling score."""

    name: str
    size: Size
    rows: list[tuple[int, float, list[float]]]


def image_sizes(images: IngestedImages, split: str) -> dict[str, Size]:
    """Return the sizes of a split's images by key: as annotated, or else of the images themselves.

    Images that ingest set aside, and so have no detections, have none.

    Raises:
        ArtifactError: A shard is missing or corrupt.
    """
    found: dict[str, Size] = {}
    units = images.manifest.units(split)
    annotated = images.artifact.committed() & {images.manifest.annotations(unit) for unit in units}
    for unit in units:
        keys = images.manifest.keys(unit)
        notes = images.read_annotations(unit)[0] if images.manifest.annotations(unit) in annotated else {}
        own = {key: note.size for key, note in notes.items()}
        if not all(key in own for key in keys):
            own |= {record.key: Size(record.width, record.height) for record in read_images(images.artifact, unit)[0]}
        found |= {key: own[key] for key in keys if key in own}
    return found


def image_records(images: IngestedImages, split: str) -> Iterator[Iterator[ImageRecord]]:
    """Yield the images of each shard of a split; raise `ArtifactError` where one is missing or corrupt."""
    for unit in images.manifest.units(split):
        yield read_images(images.artifact, unit)[0]


def write_yolo(
    tables: Iterable[DetectionTable], images: SplitImages, folder: Path, *, scores: bool = True
) -> list[Path]:
    """Write what ultralytics saves of its own predictions with their confidence, and `data.yaml` with the names.

    `labels/<split>/<image>.txt` has a line `<number> <x> <y> <width> <height> <score>` a detection: the box's centre
    and sides as fractions of the image's. The categories' numbers count from 0 in the detector's order.

    Args:
        tables: The detections, in pieces.
        images: Of the images.
        folder: An empty folder.
        scores: Whether lines end with the score; ultralytics trains on labels without only.
    """
    paths = []
    for image in _by_image(tables, images):
        path = folder / "labels" / images.split / f"{posixpath.splitext(image.name)[0]}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(_yolo_line(image.size, *row, scored=scores) for row in image.rows), encoding="utf-8")
        paths.append(path)
    names = folder / "data.yaml"
    place = f"images/{images.split}"
    # Without `path`, which ultralytics takes for one below the current folder: places are beside this file.
    told = {"train": place, "val": place, "names": dict(enumerate(images.categories))}
    names.write_text(yaml.safe_dump(told, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return [names, *paths]


def write_fiftyone(tables: Iterable[DetectionTable], images: SplitImages, folder: Path) -> list[Path]:
    """Write `labels.json` of FiftyOne's `FiftyOneImageDetectionDataset`; see `write_yolo` for the arguments.

    Boxes are `[x, y, width, height]` from the upper left corner, fractions of the sides; `confidence` is the score.
    """
    labels = {
        posixpath.splitext(image.name)[0]: [
            {"label": category, "bounding_box": _fractions(box, image.size), "confidence": score}
            for category, score, box in image.rows
        ]
        for image in _by_image(tables, images)
    }
    path = folder / f"fiftyone_{images.split}.json"
    path.write_text(
        json.dumps({"classes": list(images.categories), "labels": labels}, ensure_ascii=False), encoding="utf-8"
    )
    return [path]


def write_hugging_face(tables: Iterable[DetectionTable], images: SplitImages, folder: Path) -> list[Path]:
    """Write `<split>/metadata.jsonl` of `datasets`' image folders; see `write_yolo` for the arguments.

    A line an image: `file_name`, `width`, `height` and `objects` with lists `bbox`, as COCO has them in pixels,
    `category` and `score`.
    """
    path = folder / images.split / "metadata.jsonl"
    path.parent.mkdir()
    with path.open("w", encoding="utf-8") as file:
        for image in _by_image(tables, images):
            objects = {
                "bbox": [_cornered(box) for _, _, box in image.rows],
                "category": [images.categories[category] for category, _, _ in image.rows],
                "score": [score for _, score, _ in image.rows],
            }
            sides = {"width": image.size.width, "height": image.size.height}
            file.write(json.dumps({"file_name": image.name, **sides, "objects": objects}, ensure_ascii=False) + "\n")
    return [path]


def write_hugging_face_parquet(tables: Iterable[DetectionTable], images: SplitImages, folder: Path) -> list[Path]:
    """Write `data/<split>-00000-of-00001.parquet`, which `load_dataset` finds; see `write_yolo` for the arguments.

    A row an image, a row group a shard, with the images themselves: see `pipelines.artifacts.object_rows`.
    """
    path = folder / "data" / f"{images.split}-00000-of-00001.parquet"
    path.parent.mkdir()
    found = _rows_by_key(tables, images)

    def row(record: ImageRecord) -> ObjectsRow:
        objects = [(category, score, _cornered(box)) for category, score, box in found[record.key]]
        return ObjectsRow(images.called(record.key), record.data, images.sizes[record.key], objects)

    groups = ([row(record) for record in records if record.key in found] for records in images.records())
    with path.open("wb") as sink:
        write_object_rows(groups, images.categories, sink)
    return [path]


def _by_image(tables: Iterable[DetectionTable], images: SplitImages) -> Iterator[_Image]:
    for key, rows in _rows_by_key(tables, images).items():
        yield _Image(images.called(key), images.sizes[key], rows)


def _rows_by_key(
    tables: Iterable[DetectionTable], images: SplitImages
) -> dict[str, list[tuple[int, float, list[float]]]]:
    """Return what was found in each image, as `_Image.rows`."""
    found: dict[str, list[tuple[int, float, list[float]]]] = {key: [] for key in images.sizes}
    place = {name: number for number, name in enumerate(images.categories)}
    for table in tables:
        columns = (table.image.tolist(), table.category.tolist(), table.scores.tolist())
        boxes = table.boxes.astype(np.float64).tolist()
        for image, category, score, box in zip(*columns, boxes, strict=True):
            found[table.keys[image]].append((place[table.categories[category]], score, box))
    return {key: sorted(rows, key=lambda row: -row[1]) for key, rows in found.items()}


def _cornered(box: list[float]) -> list[float]:
    """Return a box from corners to `[x, y, width, height]`."""
    x0, y0, x1, y1 = box
    return [x0, y0, x1 - x0, y1 - y0]


def _fractions(box: list[float], size: Size) -> list[float]:
    x0, y0, x1, y1 = box
    return [x0 / size.width, y0 / size.height, (x1 - x0) / size.width, (y1 - y0) / size.height]


def _yolo_line(size: Size, category: int, score: float, box: list[float], *, scored: bool) -> str:
    x, y, width, height = _fractions(box, size)
    behind = f" {score:.9g}" if scored else ""
    return f"{category} {x + width / 2:.10g} {y + height / 2:.10g} {width:.10g} {height:.10g}{behind}\n"
