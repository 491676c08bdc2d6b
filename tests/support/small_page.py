"""A small run for the tests of the page: real ingest and evaluate stages around detections written by hand."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from pipelines.artifacts.annotations import ImageAnnotation, ObjectAnnotation
from pipelines.artifacts.detections import DetectionRow
from pipelines.artifacts.detectors import FeatureInfo
from pipelines.artifacts.manifest import Manifest
from pipelines.engine.commits import Output
from pipelines.engine.recipe import parse_recipe
from pipelines.engine.runner import Engine
from pipelines.engine.work import build_stage, run_unit
from pipelines.engine.workspace import Workspace
from tests.support.stored_rows import encode_detections
from tests.support.voc_folder import format_voc_xml

SIZE = (120, 90)
CAT, DOG = (10.0, 10.0, 50.0, 50.0), (60.0, 10.0, 100.0, 50.0)
KEYS = tuple(f"img{i}" for i in range(6))


def draw_voc(root: Path) -> None:
    """Six photographs of one cat and one dog each, and a broken one."""
    for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / name).mkdir(parents=True)
    for i, key in enumerate((*KEYS, "broken")):
        sink = io.BytesIO()
        noise = np.random.default_rng(i).integers(0, 255, (SIZE[1], SIZE[0], 3)).astype(np.uint8)
        Image.fromarray(noise).save(sink, "JPEG")
        data = sink.getvalue()
        (root / f"JPEGImages/{key}.jpg").write_bytes(data[:400] if key == "broken" else data)
        objects = (ObjectAnnotation("cat", CAT), ObjectAnnotation("dog", DOG))
        (root / f"Annotations/{key}.xml").write_text(format_voc_xml(ImageAnnotation(key, *SIZE, objects)))
    (root / "ImageSets/Main/val.txt").write_text("\n".join((*KEYS, "broken")))
    (root / "ImageSets/Main/train.txt").write_text("img0")
    (root / "categories.txt").write_text("cat\ndog\n")


def make_engine(tmp_path: Path) -> Engine:
    draw_voc(tmp_path / "voc")
    (tmp_path / "weights.safetensors").write_bytes(b"only its digest is wanted")
    inputs = {"images": "images", "windows": "windows", "maps": "maps"}
    steps = {
        "images": {
            "stage": "ingest",
            "dataset": {"root": str(tmp_path / "voc")},
            "shard_size": 4,
            "max_quarantined": 1,
        },
        "windows": {"stage": "propose", "images": "images"},
        "backbone": {
            "stage": "weights",
            "path": str(tmp_path / "weights.safetensors"),
            "architecture": "squeezenet1_0",
        },
        "maps": {"stage": "extract", "images": "images", "backbone": "backbone", "scales": [688]},
        "finetune": {"stage": "finetune", **inputs, "categories": ["cat", "dog"]},
        "svms": {"stage": "train-svms", **inputs, "categories": ["cat", "dog"], "scales": [688]},
        "regressors": {"stage": "train-regressors", **inputs, "categories": ["cat", "dog"], "scales": [688]},
        "pool5": {"stage": "score", **inputs, "svms": "svms", "regressors": "regressors"},
        "evaluate": {"stage": "evaluate", "images": "images", "detections": ["pool5"]},
    }
    recipe = parse_recipe({"version": 1, "name": "small", "seed": 5, "steps": steps}, "small.yaml")
    return Engine(recipe, Workspace.open(str(tmp_path / "workspace")))


def run_step(engine: Engine, name: str) -> None:
    step = next(step for step in engine.steps if step.name == name)
    stage = build_stage(step.spec)
    stage.artifact.describe(step.preimage)
    stage.prepare()
    for phase in stage.phases():
        for unit in phase.units:
            run_unit(step.spec, unit)


def detections(key: str) -> list[DetectionRow]:
    """The cat, found only after regression; twice after it; and the dog taken for a cat in even images."""
    rows = [
        DetectionRow(key, "cat", 2.0, (10, 10, 50, 25), CAT),
        DetectionRow(key, "cat", 1.5, (10, 30, 50, 50), (11, 10, 51, 50)),
    ]
    if int(key[-1]) % 2 == 0:
        rows.append(DetectionRow(key, "cat", 1.0 + int(key[-1]) / 100, DOG, DOG))
    return rows


def publish_detections(engine: Engine) -> None:
    artifacts = {step.name: engine.workspace.artifact(step.spec.artifact) for step in engine.steps}
    svms = artifacts["svms"]
    FeatureInfo(("cat", "dog"), "pool5", (688,), "paper", (6, 3, 2, 1), None, "digest", ("cat", "dog")).write(svms)
    step = next(step for step in engine.steps if step.name == "pool5")
    artifacts["pool5"].describe(step.preimage)
    manifest = Manifest.read(engine.workspace.store, step.spec.manifest)
    for unit, keys in zip(manifest.units("val"), (KEYS[:4], KEYS[4:]), strict=True):
        rows = [row for key in keys for row in detections(key)]
        artifacts["pool5"].publish(unit, Output(encode_detections(rows), ".parquet", len(rows), len(keys)), 1.5)
