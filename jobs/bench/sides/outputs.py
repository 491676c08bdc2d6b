"""What the sides made, read back: maps and detections by image, to see that they are the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jobs.bench.peers.job import PipelineJob
from jobs.bench.sides.ours import artifacts
from pipelines.artifacts.detections import decode_detections
from pipelines.artifacts.windows_and_maps import decode_maps, decode_windows
from sppnet.arrays import Floats

MapKey = tuple[str, int]
Found = tuple[str, int, tuple[float, ...]]
"""A detection: the image, the category's number, the box."""


def read_maps(job: PipelineJob) -> dict[MapKey, Floats]:
    """Return a side's maps `[H, W, C]` by image and scale."""
    if job.side != "ours":
        return {
            (row["key"], row["scale"]): np.frombuffer(row["data"], np.float16).reshape(
                row["height"], row["width"], row["channels"]
            )
            for row in _rows(job.out)
        }
    parts = (decode_maps(artifact.read(unit), unit) for artifact, unit in _units(job, "maps"))
    return {(row.key, row.scale): row.map for part in parts for row in part}


def read_detections(job: PipelineJob) -> dict[Found, float]:
    """Return a side's detections with their scores."""
    corners = ("x0", "y0", "x1", "y1")
    if job.side != "ours":
        return {
            (row["key"], row["category"], tuple(row[corner] for corner in corners)): row["score"]
            for row in _rows(job.out)
        }
    parts = (decode_detections(artifact.read(unit), unit) for artifact, unit in _units(job, "detections"))
    return {(row.key, int(row.category[1:]), row.box): row.score for part in parts for row in part}


def _units(job: PipelineJob, kind: str) -> Iterator[tuple[Any, str]]:
    for artifact in artifacts(job.out, kind):
        yield from ((artifact, unit) for unit in sorted(artifact.committed()))


def _rows(folder: str) -> Iterator[dict[str, Any]]:
    """Read all rows of a folder of Parquet files."""
    import pyarrow.dataset

    for file in sorted(Path(folder).glob("*.parquet")):
        for batch in pyarrow.dataset.dataset(file).to_batches(batch_size=64):
            yield from batch.to_pylist()


def maps_difference(ours: Mapping[MapKey, Floats], theirs: Mapping[MapKey, Floats]) -> float:
    """Return the greatest relative distance of two maps of the same image and scale; 1 if one has no other."""
    if set(ours) != set(theirs):
        return 1.0
    return max(_distance(ours[key].astype(np.float32), theirs[key].astype(np.float32)) for key in ours)


def _distance(one: Floats, other: Floats) -> float:
    if one.shape != other.shape:
        return 1.0
    return float(np.linalg.norm(one - other)) / max(float(np.linalg.norm(one)), 1e-6)


def detections_difference(ours: Mapping[Found, float], theirs: Mapping[Found, float]) -> float:
    """Return which fraction of all detections only one side has."""
    return len(set(ours) ^ set(theirs)) / max(1, len(set(ours) | set(theirs)))


def count_windows(job: PipelineJob) -> int:
    """Return how many windows the images of a job have."""
    return sum(len(row.windows) for row in decode_windows(Path(job.windows).read_bytes(), job.windows))
