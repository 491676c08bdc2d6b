"""`sppnet score --draw`: a picture of each image of the corpus, frames of a video too, with what was found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw

from jobs.apply.out_folder import OutFolder
from jobs.report.plots.marks import encode_jpeg, fit, label, solid
from sppnet.arrays import Pixels

if TYPE_CHECKING:
    from jobs.apply.corpus import CommandRun
    from pipelines.artifacts.detections import DetectionTable
    from pipelines.artifacts.image_tars import ImageRecord
    from pipelines.detecting.detection_sets import DetectionSet
    from pipelines.engine.workspace import Artifact
    from pipelines.outputs.plan import ExportPlan

COLOURS = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7")
"""Okabe and Ito's, told apart by colour-blind readers too; category after category, from the first again."""
MARGIN = 0.0
"""Where no threshold is given: above it an SVM takes a window for an object."""
_THREADS = 4
_SUFFIX = ".jpg"

_Rectangle = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Mark:
    """A box to draw.

    Attributes:
        text: What stands at it.
        colour: Of both.
        box: Half-open pixels.
    """

    text: str
    colour: str
    box: _Rectangle


def draw_marks(image: Pixels, marks: Sequence[Mark]) -> Image.Image:
    """Draw boxes with their labels on an image, uint8 `[H, W, 3]`; those that come first lie on top."""
    canvas = Image.fromarray(np.ascontiguousarray(image))
    draw = ImageDraw.Draw(canvas)
    for mark in reversed(marks):
        solid(draw, fit(mark.box, 1.0, canvas.size), mark.colour)
    taken: list[_Rectangle] = []
    for mark in marks:
        label(draw, mark.text, fit(mark.box, 1.0, canvas.size), mark.colour, taken)
    return canvas


class Drawings:
    """The folder of pictures of a run.

    Args:
        run: The command's run.
        images: The artifact of its images.
        artifact: Name of the detections' artifact.
        out: A folder, or an object-store prefix.
        threshold: Only detections with a higher score are drawn; None for `MARGIN`.

    Raises:
        ConfigError: `out` holds the pictures of something else, or can't be written.
    """

    def __init__(self, run: CommandRun, images: Artifact, artifact: str, out: str, threshold: float | None) -> None:
        self._threshold = MARGIN if threshold is None else threshold
        self._images_artifact = images
        options = {"drawn": "jpeg", "threshold": self._threshold}
        identity = {"artifact": artifact, "corpus": run.corpus, "options": options}
        self._folder = OutFolder(out, run.engine.workspace.store, identity)

    def draw(self, detected: DetectionSet, plan: ExportPlan) -> int:
        """Draw the images of a split, found something or not; return how many were drawn now.

        Pictures that are there stay: those of the same detections are the same.
        """
        self._folder.claim({})
        there = {entry.name for entry in self._folder.store.list()}
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="draw") as pool:
            return sum(pool.map(partial(self._put, there), self._images(detected, plan)))

    def _put(self, there: set[str], picture: tuple[str, ImageRecord, Sequence[Mark]]) -> int:
        from pipelines.shards.reading import decode_record

        name, record, marks = picture
        if name in there:
            return 0
        self._folder.store.put(name, encode_jpeg(draw_marks(decode_record(record), marks)))
        return 1

    def _images(self, detected: DetectionSet, plan: ExportPlan) -> Iterator[tuple[str, ImageRecord, Sequence[Mark]]]:
        """Yield the name of each image's picture, the image, and what to draw."""
        from pipelines.datasets.keys import shown
        from pipelines.detecting.detection_sets import final_boxes
        from pipelines.shards.reading import read_images

        kind: Any = "regressed" if plan.boxes != "windows" and plan.detector.regressors else "windows"
        for unit, table in zip(detected.units, detected.tables(), strict=True):
            above = table.select(table.scores > self._threshold)
            own = _marks(final_boxes(above, kind, plan.options.nms_iou), plan)
            for record in read_images(self._images_artifact, unit)[0]:
                yield shown(record.key) + _SUFFIX, record, own.get(record.key, ())


def _marks(table: DetectionTable, plan: ExportPlan) -> dict[str, list[Mark]]:
    """Return what to draw by image, the highest scores first."""
    words, found = plan.detector.words, dict[str, list[Mark]]()
    for row in np.argsort(-table.scores, kind="stable").tolist():
        number = int(table.category[row])
        name = table.categories[number]
        text = f"{words.get(name, name)} {table.scores[row]:.2f}"
        box: Any = tuple(table.boxes[row].tolist())
        mark = Mark(text, COLOURS[number % len(COLOURS)], box)
        found.setdefault(table.keys[table.image[row]], []).append(mark)
    return found
