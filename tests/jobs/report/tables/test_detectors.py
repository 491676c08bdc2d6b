"""The table of detectors: read from a recipe and from commits of known seconds; numbers, escapes, unions."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jobs import formatting
from jobs.report.page.collect import collect
from jobs.report.page.contents import RunInfo, RunReport
from jobs.report.page.render import render
from jobs.report.read.detection import DetectorAccount, DetectorScore, Evaluation
from jobs.report.read.detectors import DetectorReader
from jobs.report.tables.detectors import DetectorTable, detector_table
from pipelines.engine.workspace import Output
from tests.support.chain import CATEGORIES, Chain

SECONDS = {"maps/s0160/val": 0.2, "maps/s0240/val": 0.5, "other/s0240/val": 1.25}
"""Worker seconds an image of the maps."""
IMAGES = (5, 1)
"""Images of the two shards of `val`."""
UNTOLD = (formatting.NONE, formatting.NONE)
"""Parts of scoring that its commits don't tell."""


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
        "images": {"stage": "ingest", "dataset": {"root": str(data)}},
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
        unit = f"{folder}/{number:06d}"
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


def table_of(chain: Chain) -> DetectorTable:
    table = detector_table(collect(chain.engine).evaluations[0])
    assert table is not None
    return table


def test_what_each_detector_is_made_of(measured: Chain):
    assert {row.name: row.made for row in table_of(measured).rows} == {
        "pool5": ("pool5", "240", "windows", "net", "maps"),
        "fc7": ("fc7, fine-tuned", "240", "windows", "net", "maps"),
        "fc7+bb": ("fc7, fine-tuned", "160, 240", "windows", "net", "maps"),  # the regressors read another scale
        "rcnn": ("pool5", "227", "few", "net", "crops"),
        "both+bb": ("fc7, fine-tuned + fc6, as pre-trained", "160, 240", "windows", "net + tiny", "maps"),
        "second": ("fc6, as pre-trained", "240", "windows", "tiny", "maps"),
    }


def test_what_an_image_costs(measured: Chain):
    assert {row.name: row.times for row in table_of(measured).rows} == {
        "pool5": ("500", "100", *UNTOLD, "600"),
        "fc7": ("500", "300", "250", "25.0", "800"),
        "fc7+bb": ("700", "300", "250", "25.0", "1,000"),
        "rcnn": ("in scoring", "42,000", *UNTOLD, "42,000"),
        "both+bb": ("1,950", "875", *UNTOLD, "2,825"),  # the maps of both networks
        "second": ("1,250", formatting.NONE, *UNTOLD, formatting.NONE),  # it was scored elsewhere
    }


def test_accuracies_and_their_best(measured: Chain):
    table = table_of(measured)
    assert table.metrics == ("VOC07", "area")
    assert [[cell.text for cell in row.figures] for row in table.rows][:2] == [["43.1", "42.0"], ["50.0", "51.0"]]
    assert [row.name for row in table.rows if all(cell.best for cell in row.figures)] == ["both+bb"]
    evaluation = collect(measured.engine).evaluations[0]
    by_area = replace(evaluation, rows=tuple(replace(row, voc07_map=None) for row in evaluation.rows))
    assert detector_table(by_area).metrics == ("area",)


def test_notes_say_what_the_times_hold(measured: Chain):
    notes = table_of(measured).notes
    assert [note.split()[0].strip(":") for note in notes] == ["Convolution", "Scoring", "Where", "From"]
    evaluation = collect(measured.engine).evaluations[0]
    alone = detector_table(replace(evaluation, rows=evaluation.rows[:1]))
    assert [note.split()[0] for note in alone.notes] == ["Convolution:", "Scoring:"]
    only_crops = detector_table(replace(evaluation, rows=evaluation.rows[3:4]))
    assert [note.split()[0] for note in only_crops.notes] == ["Scoring:", "From"]


def test_shared_maps_are_read_once_and_a_broken_commit_is_told_once(measured: Chain):
    folder = measured.root / measured.artifact("maps").name / "_commits" / "s0240" / "val"
    (folder / "000001.json").write_text("{}")
    report = collect(measured.engine)
    times = {row.name: row.times for row in detector_table(report.evaluations[0]).rows}
    assert times["pool5"] == (formatting.NONE, "100", *UNTOLD, formatting.NONE)
    assert times["pool5"][0] == times["fc7+bb"][0] == formatting.NONE
    assert times["second"][0] == "1,250"
    told = [note for note in report.notes if note.startswith(f"What {measured.artifact('maps').name} took")]
    assert len(told) == 1


def test_a_row_of_another_recipe_has_no_account(measured: Chain):
    reader = DetectorReader(measured.engine, [])
    row = DetectorScore("pool5", measured.artifact("pool5").name, False, 0.5, 0.5, {})
    assert reader.account(row, "val").scoring == pytest.approx(0.1)
    assert reader.account(row, "test").scoring is None
    assert reader.account(replace(row, detections="detections-0"), "val") is None
    assert reader.account(replace(row, name="unknown"), "val") is None
    assert detector_table(Evaluation("metrics", "val", (row,))) is None


def account(**fields: Any) -> DetectorAccount:
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


def test_much_is_told_in_short():
    many = account(scales=(480, 576, 688, 864, 1200), backbones=tuple("abcdef"))
    (found,) = detector_table(Evaluation("m", "val", (DetectorScore("a", "d-1", False, 0.5, 0.25, {}, many),))).rows
    assert found.made == ("pool5", "480 to 1200 (5)", "w<i>", "a + 5 more", "maps")


def test_totals():
    assert account().total == 0.75
    assert account(convolution=None).total is None
    assert account(scoring=None).total is None
    assert account(convolution=None, sources=("crops",)).total == 0.5
    assert account(convolution=None, sources=("maps", "crops")).total is None


def test_the_table_is_on_the_page_and_escaped():
    rows = (
        DetectorScore("a<b>", "detections-1", False, 0.5, 0.25, {}, account()),
        DetectorScore("b", "detections-2", False, 0.75, 0.2, {}),
    )
    info = RunInfo("r", "r.yaml", "w", 1.7e9, None, (), {})
    html = render(RunReport(info=info, evaluations=(Evaluation("metrics", "val", rows),)))
    table = re.search(r'<table class="dense detectors">.*?</table>', html, re.DOTALL)[0]
    body = re.search(r"<tbody>(.*)</tbody>", table, re.DOTALL)[1]
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", line) for line in body.split("<tr>")[1:]]
    assert cells == [
        ["pool5", "688", "w&lt;i&gt;", "net", "maps", "50.0", "25.0", "250", "500", "125", "2.00", "750"],
        [formatting.NONE] * 5 + ["75.0", "20.0"] + [formatting.NONE] * 5,
    ]
    assert re.findall(r'<td class="n best">(.*?)</td>', body) == ["25.0", "75.0"]
    assert "a&lt;b&gt;</th>" in body
    assert table.count("var(--s1)") == table.count("var(--s2)") == 1
    without = Evaluation("metrics", "val", (rows[1],))
    html = render(RunReport(info=info, evaluations=(without,)))
    assert '<table class="results' in html
    assert '<table class="dense detectors">' not in html
