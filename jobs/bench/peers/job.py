"""What every side of `bench pipeline` is given: files, network, scales, workers and a place for what it makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Task = Literal["maps", "detections"]
TASKS: tuple[Task, ...] = ("maps", "detections")
Side = Literal["ours", "ray-data", "daft", "crops"]

THRESHOLD = -1.5
"""Windows that score less are no detections."""
NMS_IOU = 0.3
PER_IMAGE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineJob:
    """One side's work.

    Attributes:
        side: Who does it.
        task: `maps`: webdataset tars to maps in Parquet. `detections`: tars and windows to detections in Parquet.
        tars: Folder of the tars, each image `<key>.jpg`.
        windows: Parquet file of all images' windows, as a windows artifact has them.
        svms: Safetensors file of one-vs-rest SVMs on pooled vectors.
        weights: Safetensors file of the network's weights.
        backbone: The network: fields of a `BackboneSpec`, of which `architecture` is needed.
        scales: Short sides in pixels.
        workers: Processes that convolve, with one CPU and one thread each.
        out: Folder for what it makes.
        images: How many images there are, or, of side `crops`, how many it takes.
        crops: How many windows of an image side `crops` takes.
        warm: Whether our workers have done the job once before it is timed, in another workspace.
    """

    side: Side
    task: Task
    tars: str
    windows: str
    svms: str
    weights: str
    backbone: Mapping[str, Any]
    scales: tuple[int, ...]
    workers: int
    out: str
    images: int
    crops: int = 0
    warm: bool = False
