"""Selective search beside OpenCV's (`ximgproc.segmentation`): seconds an image on one core, and what the windows find.

One peer does the same work: the same pixels, colour spaces, `k`, minimum sizes and similarities; the other is OpenCV's
fast mode as it comes. Both sides have one thread, whose CPU time is taken, and take turns image by image. EdgeBoxes has
no peer there: this project's is OpenCV's own search.
"""

from __future__ import annotations

import ctypes
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jobs.bench.timing import TimedPair, medians
from jobs.bench.training_images import evenly, image_paths
from pipelines.artifacts.annotations import ImageAnnotation
from pipelines.datasets.voc_xml import parse_voc_xml
from pipelines.drawing.scenes import annotate_image, draw_image
from sppnet.arrays import Float64s, Pixels, Windows
from sppnet.errors import ConfigError
from sppnet.evaluation.recall import RecallSums, best_overlaps
from sppnet.images.decoding import decode_image
from sppnet.proposals.selective_search import selective_search
from sppnet.proposals.windows import first_of_each

LIMITS = (100, 500, 2000)
"""Numbers of first windows that recall is measured at, besides all."""
IOUS = (0.5, 0.7)
_K, _SIGMA, _MIN_SIDE = (50, 100), 0.8, 20
_DRAWN_WIDTH = (500, 500)

Search = Callable[[Pixels, int], Windows]
"""From an image and a seed to windows, the best first."""


@dataclass(frozen=True, slots=True, eq=False)
class AnnotatedPixels:
    """A decoded image and the boxes, float64 `[n, 4]`, of its objects that are not difficult."""

    pixels: Pixels
    objects: Float64s


def run(
    *, repeats: int = 3, images: int = 20, folder: str | None = None, limits: Sequence[int] = LIMITS, seed: int = 0
) -> list[dict[str, Any]]:
    """Measure both searches on the same images.

    Args:
        repeats: Timed pairs an image.
        images: How many images, spread evenly over the folder's.
        folder: Images with VOC's XML files beside them, or in `Annotations` beside their folder; default: drawn scenes.
        limits: How many of an image's first windows recall is measured at; all of them always are.
        seed: Of the scenes, and of the order of both sides' windows.

    Returns:
        One dict per peer and limit: `name`, `peer`, `images`, `ours_s` and `peer_s` (medians an image, CPU time),
        `ratio` (median over the pairs) with its quartiles `ratio_low` and `ratio_high`, `limit`, `objects`, and of both
        sides the windows an image, recall at IoU 0.5 and 0.7 (`r50`, `r70`) and average recall (`ar`).

    Raises:
        ConfigError: The folder holds no annotated image, or no object.
    """
    shown = read_annotated(Path(folder), images) if folder else draw_annotated(images, seed)
    if not sum(len(image.objects) for image in shown):
        raise ConfigError(f"bench proposals: none of {len(shown)} images has an object to find")

    def ours(pixels: Pixels, seed: int) -> Windows:
        return selective_search(pixels, k=_K, sigma=_SIGMA, min_side=_MIN_SIDE, seed=seed)

    rows = []
    with _one_thread():
        ours(shown[0].pixels, seed)  # compiles
        for name, peer in (("OpenCV, the same work", same_work), ("OpenCV's fast mode", fast_mode)):
            pairs, found = _alternate(shown, (ours, peer), seed, repeats)
            ratios = [theirs / our for our, theirs in pairs]
            quartiles = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
            rows += [
                {"name": "selective search", "peer": name, "images": len(shown)}
                | medians(pairs)
                | {"ratio_low": quartiles[0], "ratio_high": quartiles[2], "limit": limit or "all"}
                | _recalls(shown, found, limit)
                for limit in (*limits, None)
            ]
    return rows


def same_work(pixels: Pixels, seed: int) -> Windows:
    """Search with OpenCV at this project's parameters."""
    import cv2

    parts = cv2.ximgproc.segmentation
    search = parts.createSelectiveSearchSegmentation()
    search.setBaseImage(pixels)
    for conversion in (cv2.COLOR_RGB2HSV_FULL, cv2.COLOR_RGB2Lab):
        search.addImage(cv2.cvtColor(pixels, conversion))
    for k in _K:
        search.addGraphSegmentation(parts.createGraphSegmentation(_SIGMA, float(k), k))
    texture, size, fill = (getattr(parts, f"{_STRATEGY}{kind}") for kind in ("Texture", "Size", "Fill"))
    multiple, colour = getattr(parts, f"{_STRATEGY}Multiple"), getattr(parts, f"{_STRATEGY}Color")
    search.addStrategy(multiple(colour(), texture(), size(), fill()))
    search.addStrategy(multiple(texture(), size(), fill()))
    return _process(search, seed)


def fast_mode(pixels: Pixels, seed: int) -> Windows:
    """Search with OpenCV's fast mode as it comes: k of 150, 300 and 450, so 12 hierarchies of larger segments."""
    import cv2

    search = cv2.ximgproc.segmentation.createSelectiveSearchSegmentation()
    search.setBaseImage(np.ascontiguousarray(pixels[:, :, ::-1]))
    search.switchToSelectiveSearchFast()
    return _process(search, seed)


_STRATEGY = "createSelectiveSearchSegmentationStrategy"


def _process(search: Any, seed: int) -> Windows:
    """Run OpenCV's search; its order is drawn by the C library's generator."""
    ctypes.CDLL(None).srand(seed)
    boxes = np.asarray(search.process(), np.int32).reshape(-1, 4)
    boxes = boxes[(boxes[:, 2:] >= _MIN_SIDE).all(axis=1)]
    boxes[:, 2:] += boxes[:, :2]
    return boxes[first_of_each(boxes)].astype(np.float32)


def read_annotated(folder: Path, count: int) -> list[AnnotatedPixels]:
    """Read at most `count` images that have VOC's XML, spread evenly over a folder's.

    Raises:
        ConfigError: There are none.
        DataError: One can't be read.
    """
    found = [(path, xml) for path in image_paths(folder) if (xml := _annotation_of(path))]
    if not found:
        raise ConfigError(f"bench proposals: folder {folder} holds no image with VOC's XML beside it or in Annotations")
    return [
        _annotated(path.read_bytes(), parse_voc_xml(xml.read_bytes(), path.stem)) for path, xml in evenly(found, count)
    ]


def draw_annotated(count: int, seed: int) -> list[AnnotatedPixels]:
    """Draw scenes of a photograph's size."""
    seeds = [seed * count + number for number in range(count)]
    return [_annotated(draw_image(n, _DRAWN_WIDTH), annotate_image(str(n), n, _DRAWN_WIDTH)) for n in seeds]


def _annotation_of(path: Path) -> Path | None:
    places = (path.with_suffix(".xml"), path.parent.parent / "Annotations" / f"{path.stem}.xml")
    return next((place for place in places if place.is_file()), None)


def _annotated(data: bytes, annotation: ImageAnnotation) -> AnnotatedPixels:
    boxes = [thing.box for thing in annotation.objects if not thing.difficult]
    return AnnotatedPixels(decode_image(data), np.array(boxes, np.float64).reshape(-1, 4))


def _alternate(
    shown: Sequence[AnnotatedPixels], sides: tuple[Search, Search], seed: int, repeats: int
) -> tuple[list[TimedPair], list[tuple[Windows, Windows]]]:
    """Time both sides in turn; return the times and each image's windows of both."""
    pairs, found = [], []
    for image in shown:
        for _ in range(repeats):
            (ours, our_windows), (theirs, their_windows) = (_timed(side, image.pixels, seed) for side in sides)
            pairs.append((ours, theirs))
        found.append((our_windows, their_windows))
    return pairs, found


def _timed(side: Search, pixels: Pixels, seed: int) -> tuple[float, Windows]:
    start = time.thread_time()
    windows = side(pixels, seed)
    return time.thread_time() - start, windows


def _recalls(
    shown: Sequence[AnnotatedPixels], found: Sequence[tuple[Windows, Windows]], limit: int | None
) -> dict[str, float]:
    """Return what both sides' first windows find."""
    row: dict[str, float] = {"objects": sum(len(image.objects) for image in shown)}
    for place, side in enumerate(("ours", "peer")):
        overlaps = [best_overlaps(i.objects, windows[place], [limit]) for i, windows in zip(shown, found, strict=True)]
        sums = RecallSums.of(np.concatenate(overlaps), IOUS)
        row[f"{side}_windows"] = statistics.fmean(len(windows[place][:limit]) for windows in found)
        row[f"{side}_r50"], row[f"{side}_r70"] = map(float, sums.recall()[0])
        row[f"{side}_ar"] = float(sums.average_recall()[0])
    return row


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep OpenCV to one thread, as this project's kernels are."""
    import cv2

    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)
