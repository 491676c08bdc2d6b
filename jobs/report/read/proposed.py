"""Which objects the detector's windows overlap enough to be found at all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from jobs.report.read.split_objects import Source
from pipelines.artifacts.windows_and_maps import decode_windows
from pipelines.detecting.detector_sources import DetectorSource
from pipelines.engine.workspace import Artifact
from pipelines.shards.read_ahead import prepared_ahead
from sppnet.arrays import Float64s, Integers
from sppnet.boxes import iou_matrix

UNKNOWN, NOT_PROPOSED, PROPOSED = -1, 0, 1
_AHEAD = 4


def proposed_objects(source: Source, units: Sequence[str]) -> NDArray[np.int8]:
    """Tell which objects a window overlaps by what it takes to be found.

    Args:
        source: The detector.
        units: The shards whose windows are read; objects of others, or of windows that are gone, stay unknown.

    Returns:
        int8 `[objects]`: UNKNOWN, NOT_PROPOSED or PROPOSED.

    Raises:
        ArtifactError: Windows are corrupt.
    """
    objects = source.objects
    best = np.full(len(objects.objects), np.nan)
    by_image = _rows_by_image(source.places[objects.objects.images])
    places = {key: place for place, key in enumerate(source.keys)}
    for windows in _window_artifacts(source.detections):
        there = windows.committed()
        for unit, data in prepared_ahead([unit for unit in units if unit in there], windows.read, _AHEAD):
            rows = decode_windows(data.result(), f"{windows.name}/{unit}")
            found = {row.key: row.windows for row in rows}
            for key in source.images.manifest.keys(unit):
                own = by_image.get(places[key])
                if own is not None:  # an image that was set aside for want of windows misses its objects
                    overlaps = _best(objects.objects.boxes[own], found.get(key, np.zeros((0, 4), np.float32)))
                    best[own] = np.fmax(best[own], overlaps)
    known = np.where(best >= objects.needed, PROPOSED, NOT_PROPOSED)
    return np.where(np.isnan(best), UNKNOWN, known).astype(np.int8)


def _best(boxes: Float64s, windows: NDArray[np.float32]) -> Float64s:
    best: Float64s = iou_matrix(boxes, windows).max(axis=1, initial=0.0)
    return best


def _rows_by_image(images: Integers) -> dict[int, Integers]:
    """Return the objects of each image that has any."""
    order = np.argsort(images, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(images[order])) + 1) if len(order) else []
    return {int(images[rows[0]]): rows for rows in groups}


def _window_artifacts(detections: Artifact) -> Iterable[Artifact]:
    """Return the windows that detections are of; those of an ensemble may be several."""
    return {source.windows.name: source.windows for source in DetectorSource.of_detections(detections)}.values()
