"""From a workspace to the report: real ingest and evaluate stages around detections written by hand."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from jobs.report.page.collect import collect
from jobs.report.page.gallery import Limits
from jobs.report.page.render import render
from jobs.report.read.detection import read_evaluation
from jobs.report.read.training import read_curve
from pipelines.artifacts.annotations import ImageAnnotation, ObjectAnnotation
from pipelines.artifacts.detections import DetectionRow, encode_detections
from pipelines.artifacts.detectors import FeatureInfo
from pipelines.artifacts.manifest import Manifest
from pipelines.datasets.voc import format_voc_xml
from pipelines.engine.recipe import parse_recipe
from pipelines.engine.runner import Engine
from pipelines.engine.work import build_stage, run_unit
from pipelines.engine.workspace import Artifact, Output, Workspace
from sppnet.errors import ArtifactError
from sppnet.networks.weights import write_safetensors

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
    for unit, keys in (("val/000000", KEYS[:4]), ("val/000001", KEYS[4:])):
        rows = [row for key in keys for row in detections(key)]
        artifacts["pool5"].publish(unit, Output(encode_detections(rows), ".parquet", len(rows), len(keys)), 1.5)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    engine = make_engine(tmp_path_factory.mktemp("run"))
    run_step(engine, "images")
    publish_detections(engine)
    run_step(engine, "evaluate")
    return engine


def test_the_evaluation_is_read(engine: Engine):
    report = collect(engine)
    (evaluation,) = report.evaluations
    assert (evaluation.step, evaluation.split, evaluation.categories) == ("evaluate", "val", ("cat", "dog"))
    assert [(row.name, row.regressed) for row in evaluation.rows] == [("pool5", False), ("pool5+bb", True)]
    found = evaluation.rows[1].categories["cat"]
    assert (found.positives, found.true_positives) == (6, 6)
    assert found.voc07_ap == pytest.approx(1.0)
    assert found.operating_score == 2.0
    assert evaluation.rows[1].categories["dog"].operating_score is None
    assert evaluation.rows[1].voc07_map == pytest.approx(0.5)
    assert report.info.name == "small"
    assert report.info.recipe == "small.yaml"
    assert report.info.finished is not None
    assert "torch" in report.info.versions
    assert len(report.info.hosts) == 1
    assert report.notes == ()


def test_the_gallery_shows_what_was_evaluated(engine: Engine):
    gallery = collect(engine).gallery
    assert (gallery.detector, gallery.split, gallery.images_seen, gallery.images_total) == ("pool5+bb", "val", 6, 7)
    assert {picture.key for picture in gallery.pictures} == set(KEYS)
    assert all((p.right, p.wrong, p.missed) == (1, 0, 1) for p in gallery.pictures)
    assert gallery.tallies["cat"].right == 6
    assert gallery.tallies["dog"].missed == 6
    assert gallery.failures == ()


def test_categories_that_are_codes_are_shown_as_words(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    plain = Manifest.read

    def named(artifact: Artifact) -> Manifest:
        return replace(plain(artifact), names={"cat": "house <cat>"})

    monkeypatch.setattr(Manifest, "read", named)
    report = collect(engine)
    assert report.evaluations[0].categories == ("house <cat>", "dog")
    assert report.gallery.tallies["house <cat>"].right == 6
    assert report.gallery.tallies["dog"].missed == 6
    assert "house &lt;cat&gt;" in render(report)


def lowered(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the gallery see all detections: the operating score of a perfect detector hides its errors."""
    original = read_evaluation

    def low(data: bytes, step: str, where: str):
        body = json.loads(data)
        for row in body["rows"]:
            row["categories"]["cat"]["operating_score"] = 0.5
        return original(json.dumps(body).encode(), step, where)

    monkeypatch.setattr("jobs.report.page.collect.read_evaluation", low)


def test_failures_come_by_score_and_duplicates_are_suppressed_first(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    lowered(engine, monkeypatch)
    gallery = collect(engine, limits=Limits(pictures=2, failures=2)).gallery
    assert len(gallery.pictures) == 2
    assert [(f.key, f.kind, f.truth) for f in gallery.failures] == [
        ("img4", "confusion", "dog"),
        ("img2", "confusion", "dog"),
    ]
    assert gallery.failures[0].score == pytest.approx(1.04)
    assert gallery.tallies["cat"].errors == {"localisation": 0, "duplicate": 0, "confusion": 3, "background": 0}


def test_the_lot_depends_on_the_seed_alone_and_grows(engine: Engine):
    few = [picture.key for picture in collect(engine, limits=Limits(pictures=2)).gallery.pictures]
    more = [picture.key for picture in collect(engine, limits=Limits(pictures=4)).gallery.pictures]
    assert more[:2] == few


def test_of_many_shards_only_some_are_read(engine: Engine):
    gallery = collect(engine, limits=Limits(shards=1)).gallery
    assert gallery.images_seen in {4, 2}
    assert gallery.images_total == 7


def test_training_curves_are_read_and_a_broken_model_is_told(tmp_path: Path):
    engine = make_engine(tmp_path)
    head = engine.workspace.artifact(next(step for step in engine.steps if step.name == "finetune").spec.artifact)
    data = write_safetensors({"weight": torch.zeros(2)}, {"curve": '[{"step": 20, "loss": 0.5, "lr": 0.001}]'})
    commit = head.publish("model", Output(data, ".safetensors", 1, 0), 1.0)
    (training,) = collect(engine).training
    assert (training.step, training.unit, training.points) == (
        "finetune",
        "model",
        ({"step": 20.0, "loss": 0.5, "lr": 0.001},),
    )
    (tmp_path / "workspace" / head.name / commit.data).write_bytes(b"cut")
    report = collect(engine)
    assert report.training == ()
    assert report.notes[0].startswith("The training curves of step finetune can't be shown: ")


def test_stages_tell_what_is_there_and_what_is_not(engine: Engine):
    rows = {row.step: row for row in collect(engine).stages}
    images = rows["images"].summary
    assert (images.keys, images.done, images.quarantined[0].key) == (8, 7, "broken")
    assert rows["pool5"].summary.rows == 15
    assert (rows["windows"].committed, rows["windows"].total, rows["windows"].summary) == (0, 3, None)


def test_the_page_shows_the_run(engine: Engine):
    page = render(collect(engine, Limits(pictures=1, failures=1)))
    assert page.startswith("<!doctype html>")
    assert page.rstrip().endswith("</html>")
    assert "pool5+bb" in page
    assert "shard_size: 4" in page
    assert "8 = 7 + <b" in page


def test_a_run_before_its_first_stage(tmp_path: Path):
    report = collect(make_engine(tmp_path))
    assert report.info.name == "small"
    assert (report.evaluations, report.gallery, report.training, report.notes) == ((), None, (), ())
    assert [row.summary for row in report.stages] == [None] * 9
    assert "python" in report.info.versions


def test_lost_data_is_told_and_the_rest_is_shown(tmp_path: Path):
    engine = make_engine(tmp_path)
    run_step(engine, "images")
    publish_detections(engine)
    run_step(engine, "evaluate")
    scored = next(step for step in engine.steps if step.name == "pool5").spec.artifact
    for file in (tmp_path / "workspace" / scored / "val").glob("000001-*.parquet"):
        file.unlink()
    report = collect(engine)
    assert report.gallery is None
    assert len(report.evaluations) == 1
    assert len(report.notes) == 1
    assert report.notes[0].startswith("Detections can't be drawn: ")
    metrics = next(step for step in engine.steps if step.name == "evaluate").spec.artifact
    for file in (tmp_path / "workspace" / metrics).glob("metrics-*.json"):
        file.write_bytes(b"{}")
    report = collect(engine)
    assert report.evaluations == ()
    assert report.notes[0].startswith("Step evaluate can't be shown: ")


@pytest.mark.parametrize("data", [b"", b"[]", b'{"split": "val"}', b'{"split": "val", "rows": [{"name": "a"}]}'])
def test_something_else_is_no_evaluation(data: bytes):
    with pytest.raises(ArtifactError, match="metrics-1/metrics: not an evaluation"):
        read_evaluation(data, "evaluate", "metrics-1/metrics")


def test_curves_keep_numbers_and_tolerate_absence():
    points = [{"step": 1, "loss": 0.5, "note": "warm-up", "best": True}, {"step": 2, "lr": 1}]
    assert read_curve({"curve": json.dumps(points)}, "here") == ({"step": 1.0, "loss": 0.5}, {"step": 2.0, "lr": 1.0})
    assert read_curve({}, "here") == ()
    for text in ("{", "[1]", "3"):
        with pytest.raises(ArtifactError, match="here: its curve"):
            read_curve({"curve": text}, "here")
