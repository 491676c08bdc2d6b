"""A workspace with nothing but one evaluation of several detectors and commits of known seconds: `measured`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from jobs.report.read.detection import DetectorAccount
from pipelines.engine.commits import Output
from tests.support.chain import CATEGORIES, Chain

SECONDS = {"maps/s0160/val": 0.2, "maps/s0240/val": 0.5, "other/s0240/val": 1.25}
"""Worker seconds an image of the maps."""


IMAGES = (5, 1)
"""Images of the two shards of `val`."""


def make_steps(data: Path, weights: Path) -> dict[str, dict[str, Any]]:
    """Detectors that differ in features, scales, windows, network and box regression; two of them together."""
    read = {"images": "images", "windows": "windows", "maps": "maps"}
    trained = {**read, "stage": "train-svms", "categories": list(CATEGORIES), "scales": [240]}
    score = {**read, "stage": "score"}
    network = {"stage": "weights", "path": str(weights), "architecture": "zf5", "width": 0.125}
    extract = {"stage": "extract", "images": "images", "scales": [160, 240]}
    pretrain = {"stage": "pretrain", "images": "images", "schedule": [{"lr": 0.01, "steps": 1}]}
    tuned = {"stage": "finetune", **read, "categories": list(CATEGORIES), "scales": [240]}
    names = ("pool5", "fc7", "rcnn", "both", "second")
    return {
        "images": {"stage": "ingest", "dataset": {"root": str(data)}, "shard_size": 5},
        "windows": {"stage": "propose", "images": "images"},
        "few": {"stage": "propose", "images": "images", "max_windows": 9},
        "net": network,
        "tiny": pretrain,
        "maps": {**extract, "backbone": "net"},
        "other": {**extract, "backbone": "tiny"},
        "crops": {"stage": "crops", "images": "images", "backbone": "net", "size": 227},
        "head": tuned,
        "svms-pool5": trained,
        "svms-fc7": {**trained, "head": "head", "features": "fc7"},
        "svms-rcnn": {**trained, "windows": "few", "maps": "crops", "scales": [227]},
        "svms-second": {**trained, "maps": "other", "head": "tiny", "features": "fc6"},
        "boxes": {"stage": "train-regressors", **read, "categories": list(CATEGORIES), "scales": [160]},
        "pool5": {**score, "svms": "svms-pool5"},
        "fc7": {**score, "svms": "svms-fc7", "regressors": "boxes"},
        "rcnn": {**score, "windows": "few", "maps": "crops", "svms": "svms-rcnn"},
        "second": {**score, "maps": "other", "svms": "svms-second"},
        "both": {"stage": "combine", "images": "images", "detections": ["fc7", "second"]},
        "metrics": {"stage": "evaluate", "images": "images", "detections": list(names)},
    }


def publish(chain: Chain, step: str, folder: str, seconds: float, **parts: float) -> None:
    """Commits of two shards of different sizes that took so many seconds an image, and of them so many for parts."""
    for number, images in enumerate(IMAGES):
        unit = chain.unit(f"{folder}/{number:06d}")
        told = {f"{name}_seconds": value * images for name, value in parts.items()}
        chain.artifact(step).publish(unit, Output(None, "", 0, images, metrics=told), seconds * images)


def metrics_row(chain: Chain, name: str, step: str, voc07: float | None, area: float) -> dict[str, Any]:
    regressed = name.endswith("+bb")
    return {
        "name": name,
        "detections": chain.artifact(step).name,
        "boxes": "regressed" if regressed else "windows",
        "voc07_map": voc07,
        "area_map": area,
        "categories": {},
    }


@pytest.fixture
def measured(drawn: Path, weights_file: Path, tmp_path: Path) -> Chain:
    """A workspace with nothing but commits and one evaluation."""
    chain = Chain(drawn, make_steps(drawn, weights_file), tmp_path / "workspace")
    for place, seconds in SECONDS.items():
        step, folder = place.split("/", 1)
        publish(chain, step, folder, seconds)
    publish(chain, "maps", "s0240/train", 99.0)  # of another split
    publish(chain, "fc7", "val", 0.3, features=0.25, svm=0.025, suppression=0.01)
    for step, seconds in (("pool5", 0.1), ("rcnn", 42.0), ("both", 0.875)):
        publish(chain, step, "val", seconds)
    publish(chain, "pool5", "train", 99.0)
    rows = [
        metrics_row(chain, "pool5", "pool5", 0.431, 0.42),
        metrics_row(chain, "fc7", "fc7", 0.5, 0.51),
        metrics_row(chain, "fc7+bb", "fc7", 0.552, 0.54),
        metrics_row(chain, "rcnn", "rcnn", 0.44, 0.43),
        metrics_row(chain, "both+bb", "both", 0.6, 0.59),
        metrics_row(chain, "second", "second", 0.1, 0.1),
    ]
    body = json.dumps({"split": "val", "protocol": "voc", "iou": 0.5, "rows": rows}).encode()
    chain.artifact("metrics").publish("metrics", Output(body, ".json", len(rows), 0), 1.0)
    return chain


def detector_account(**fields: Any) -> DetectorAccount:
    made: Mapping[str, Any] = {
        "features": ("pool5",),
        "scales": (688,),
        "windows": ("w<i>",),
        "backbones": ("net",),
        "sources": ("maps",),
        "convolution": 0.25,
        "scoring": 0.5,
        "pooling": 0.125,
        "svm": 0.002,
    }
    return DetectorAccount(**{**made, **fields})
