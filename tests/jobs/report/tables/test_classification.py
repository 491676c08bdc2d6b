"""The report's classification half: tables, heat map, common training panels, pictures of filters."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from jobs import formatting
from jobs.report.page.collect import collect
from jobs.report.page.contents import RunInfo, RunReport
from jobs.report.page.filters import FilterGallery, FilterRow
from jobs.report.page.panels import training_groups
from jobs.report.page.render import render
from jobs.report.plots.heat import NAMES_UP_TO, heat_map, row_shares
from jobs.report.plots.pictures import FIELD, draw_field
from jobs.report.read.classification import ClassEvaluation, ClassRow, Figure, read_class_evaluation
from jobs.report.read.training import TrainingCurve
from jobs.report.tables.classification import Confusion, confusions, figure_tables, per_class_table
from pipelines.artifacts.activations import read_activations
from sppnet.errors import ArtifactError
from tests.support.chain import CATEGORIES, Chain

POOL5 = {"stage": "classify", "images": "images", "network": "network", "output": "pool5", "size": 96}
VOC = {"kind": "voc07", "train": ["train"], "test": "val", "categories": list(CATEGORIES)}

INFO = RunInfo("classes", "c.yaml", "w", 1.7e9, None, (), {})
LABELS = ("tench", "church", "<i>gas</i> pump")
CONFUSION = ((0, 0, 8), (0, 1, 2), (1, 0, 1), (1, 1, 6), (1, 2, 3))


def row(name: str, views: str, top1: float, deviation: float | None = None, **fields) -> ClassRow:
    classes = dict(zip(LABELS, (0.8, 0.6, None), strict=True))
    found = {"top1_error": Figure(top1, deviation), "top5_error": Figure(top1 / 4, deviation)}
    return ClassRow(**{
        "name": name, "views": views, "figures": found, "images": 20, "members": 3 if deviation else 1,
        "classes": classes, "labels": LABELS, "confusion": CONFUSION, **fields,
    })  # fmt: skip


@pytest.fixture
def evaluation() -> ClassEvaluation:
    rows = (
        row("no SPP", "crop", 0.36, 0.01),
        row("SPP", "crop", 0.35, 0.012),
        row("SPP", "full", 0.34996, 0.011),
    )
    return ClassEvaluation("errors", "val", "accuracy", "network", "networks", rows)


def texts(table):
    return [[cell.text for cell in line] for line in table.rows]


def test_a_table_per_metric_networks_by_views(evaluation: ClassEvaluation):
    top1, top5 = figure_tables(evaluation)
    assert (top1.title, top1.columns, top1.names) == ("top-1 error", ("crop", "full"), ("no SPP", "SPP"))
    assert texts(top1) == [["36.0 ± 1.0", formatting.NONE], ["35.0 ± 1.2", "35.0 ± 1.1"]]
    assert [[cell.best for cell in line] for line in top1.rows] == [[False, False], [True, False]]  # the lower error
    assert top5.rows[0][0].text == "9.0 ± 1.0"


def test_of_one_set_of_views_the_columns_are_metrics(evaluation: ClassEvaluation):
    (table,) = figure_tables(replace(evaluation, rows=evaluation.rows[:2]))
    assert (table.title, table.columns) == ("", ("top-1 error", "top-5 error"))
    assert texts(table)[1] == ["35.0 ± 1.2", "8.8 ± 1.2"]


def test_an_accuracy_is_best_where_it_is_highest():
    rows = tuple(row(name, "full", 0, figures={"voc07_map": Figure(value)}) for name, value in (("a", 0.7), ("b", 0.6)))
    (table,) = figure_tables(ClassEvaluation("t", "val", "AP", "features", "splits", rows))
    assert [(line[0].text, line[0].best) for line in table.rows] == [("70.0", True), ("60.0", False)]


def test_classes_of_the_last_views_best_first(evaluation: ClassEvaluation):
    table = per_class_table(evaluation)
    assert table.columns == ("SPP, full",)
    assert [(name, cells[0].text) for name, cells in table.rows] == [
        ("tench", "80.0"),
        ("church", "60.0"),
        ("<i>gas</i> pump", formatting.NONE),
    ]
    assert per_class_table(replace(evaluation, rows=(replace(evaluation.rows[0], classes={}),))) is None
    many = replace(evaluation.rows[0], classes={f"c{i:04d}": i / 1000 for i in range(1000)})
    table = per_class_table(replace(evaluation, rows=(many,)))
    assert (len(table.rows), table.left_out, table.rows[0][0], table.rows[-1][0]) == (120, 880, "c0999", "c0000")


def test_confusions_come_by_count(evaluation: ClassEvaluation):
    assert confusions(evaluation.rows[-1]) == (
        Confusion("church", "<i>gas</i> pump", 3, 0.3),
        Confusion("tench", "church", 2, 0.2),
        Confusion("church", "tench", 1, 0.1),
    )


def pixels(svg: str) -> np.ndarray:
    data = re.search(r'href="data:image/png;base64,([^"]+)"', svg)[1]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def test_the_heat_map_shows_each_rows_shares():
    np.testing.assert_allclose(row_shares(CONFUSION, 3), [[0.8, 0.2, 0], [0.1, 0.6, 0.3], [0, 0, 0]])
    svg = heat_map(LABELS, CONFUSION, 'a "map"')
    image = pixels(svg)
    assert image.shape == (3, 3, 4)
    assert image[0, 0, 3] > image[1, 1, 3] > image[1, 2, 3] > image[0, 1, 3] > image[1, 0, 3] > image[0, 2, 3] == 0
    assert tuple(image[0, 0, :3]) != tuple(image[0, 1, :3]) == tuple(image[1, 2, :3])
    assert re.findall(r'class="number">(\d+)<', svg) == ["80", "20", "10", "60", "30"]
    assert svg.count("&lt;i&gt;gas&lt;/i&gt; pump") == 2
    assert 'aria-label="a &#34;map&#34;"' in svg


@pytest.mark.parametrize("n", [1, 102, NAMES_UP_TO, 1000])
def test_heat_maps_of_many_classes_stay_small(n: int):
    counts = np.diag(np.full(n, 40)) + np.random.default_rng(0).poisson(0.1, (n, n))
    entries = [(int(i), int(j), int(counts[i, j])) for i, j in np.argwhere(counts)]
    svg = heat_map([f"a class called {i:04d}" for i in range(n)], entries, "many")
    assert len(svg) < 400_000
    assert pixels(svg).shape == (n, n, 4)
    assert svg.count("a class called 0000") == (2 if n <= NAMES_UP_TO else 0)
    assert int(re.search(r'width="(\d+)"', svg)[1]) <= 1300


def test_many_trainings_of_a_stage_share_panels_and_long_curves_are_thinned():
    def training(number: int, stage: str = "pretrain") -> TrainingCurve:
        points = tuple({"step": s, "loss": number + 1 / s, "lr": 0.1, "held_out_error": 0.5} for s in range(1, 2000))
        return TrainingCurve(f"net-s{number}", "model", points, stage)

    alone = training_groups([training(i) for i in range(4)])
    assert [(group.title, group.steps) for group in alone] == [(f"net-s{i}", ()) for i in range(4)]
    assert [panel.title for panel in alone[0].panels] == ["loss", "error", "learning rate"]
    assert len(alone[0].panels[0].plot) < 20_000
    groups = training_groups([*(training(i) for i in range(14)), training(99, "finetune")])
    assert [(group.title, len(group.steps)) for group in groups] == [("pretrain", 12), ("pretrain", 2), ("net-s99", 0)]
    assert [(panel.title, panel.note) for panel in groups[0].panels] == [
        ("loss", "at the end 0.0005 to 11"),
        ("error", "at the end 0.5"),
        ("learning rate", "at the end 0.1"),
    ]


def test_a_receptive_field_is_framed_and_the_rest_is_darker():
    image = np.full((300, 400, 3), 200, np.uint8)
    picture = draw_field("k", image, (-40.0, 100.0, 200.0, 260.0), 3.25)
    assert (picture.width, picture.height, picture.value) == (200, 150, 3.25)
    drawn = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture.uri.split(",")[1])))).astype(int)
    assert np.abs(drawn[90, 50] - 200).max() < 12  # inside
    assert np.abs(drawn[90, 150] - 140).max() < 12  # outside
    yellow = np.array([int(FIELD[i : i + 2], 16) for i in (1, 3, 5)])
    assert np.abs(drawn[50:131, 98] - yellow).mean() < 30  # the right edge; the left one is at the image's rim


def test_the_page_of_a_run_that_only_classifies(evaluation: ClassEvaluation):
    image = np.full((30, 40, 3), 200, np.uint8)
    gallery = FilterGallery(
        "strongest", ("val",), (FilterRow(17, (draw_field("a<b", image, (0, 0, 9, 9), 2.5),)), FilterRow(3, ())), 5
    )
    html = render(RunReport(info=INFO, classes=(evaluation,), filters=(gallery,)))
    assert 'id="detections"' not in html
    assert "Nothing has been evaluated yet" not in html
    assert "<i>gas" not in html
    assert "35.0 ± 1.1" in html
    assert "over 3 networks" in html
    assert 'alt="a&lt;b: response 2.50 of filter 17"' in html
    assert "No image makes it respond." in html
    assert "5 more filters are in the artifact." in html
    assert "<b>35.0<small> %</small></b><span>top-1 error</span><em>SPP, full</em>" in html
    assert 'id="detections"' in render(RunReport(info=INFO))


@pytest.fixture(scope="module")
def transferred(chain: Chain, tmp_path_factory: pytest.TempPathFactory) -> Chain:
    """A run without detection: features, transfer and activations."""
    root = tmp_path_factory.mktemp("transferred") / "ws"
    chain.copied(root, ("images", "network", "maps"))
    steps = {name: chain.steps[name] for name in ("images", "network", "maps")}
    steps["pool5"] = {**POOL5, "splits": ["train", "val"], "views": ["crop", "full"], "scale": 110}
    steps["transfer"] = {"stage": "transfer", "images": "images", "features": ["pool5"], "protocol": VOC}
    steps["strongest"] = {
        "stage": "activations",
        "images": "images",
        "maps": "maps",
        "scales": [160],
        "filters": [3, 9],
    }
    made = Chain(chain.data, steps, root, chain.seed)
    made.run()
    return made


def test_a_run_is_collected(transferred: Chain):
    report = collect(transferred.engine)
    assert report.notes == ()
    (found,) = report.classes
    rows = json.loads(transferred.artifact("transfer").read("metrics"))["rows"]
    assert (found.step, found.split, found.per_class, found.subject) == ("transfer", "val", "AP", "features")
    assert [(row.name, row.views) for row in found.rows] == [("pool5", "crop"), ("pool5", "full")]
    for shown, stored in zip(found.rows, rows, strict=True):
        assert shown.figures == {"voc07_map": Figure(stored["figures"]["voc07_map"]["mean"])}
        assert (shown.classes, shown.images, shown.members) == (stored["classes"], 6, 1)
    assert report.info.finished == transferred.artifact("transfer").commit("metrics").created
    assert report.info.hosts != ()


def test_filters_are_drawn_on_the_images_they_respond_to(transferred: Chain):
    (gallery,) = collect(transferred.engine).filters
    stored = read_activations(transferred.artifact("strongest"))
    assert (gallery.step, gallery.splits, gallery.left_out) == ("strongest", ("val",), 0)
    assert [row.filter for row in gallery.rows] == [3, 9]
    for drawn, wanted in zip(gallery.rows, stored, strict=True):
        assert [picture.key for picture in drawn.pictures] == [patch.key for patch in wanted.patches]
        assert all(picture.height <= 150 and picture.width <= 230 for picture in drawn.pictures)
    assert any(row.pictures for row in gallery.rows)


def test_lost_results_are_told(transferred: Chain, tmp_path):
    copy = transferred.copied(tmp_path / "ws", ("images", "transfer", "strongest"))
    for step, pattern in (("transfer", "metrics-*.json"), ("strongest", "activations-*.json")):
        for file in (copy.root / copy.step(step).spec.artifact).glob(pattern):
            file.write_bytes(b"{}")
    report = collect(copy.engine)
    assert (report.classes, report.filters) == ((), ())
    assert [note.split(" can't be ")[0] for note in report.notes] == ["Step transfer", "The filters of step strongest"]


def test_rows_of_networks_groups_and_ensembles_are_read():
    def stored(name: str, kind: str, members: list[str], deviation: float | None) -> dict:
        figures = {
            "top1_error": {"mean": 0.25, "deviation": deviation},
            "mean_accuracy": {"mean": 1, "deviation": None},
        }
        entries = {"labels": ["a", "b"], "confusion": [[0, 0, 3], [1, 0, 1]]}
        told = {"name": name, "views": "full", "kind": kind, "members": members, "images": 4}
        return {**told, "figures": figures, "classes": {"a": 1.0, "b": None}, **entries}

    rows = [
        stored("n", "network", ["n"], None),
        stored("e", "ensemble", ["n", "m"], None),
        stored("g", "group", ["n", "m"], 0.1),
    ]
    found = read_class_evaluation(json.dumps({"split": "val", "rows": rows}).encode(), "errors", "here")
    assert [row.members for row in found.rows] == [1, 1, 2]
    assert found.rows[2].figures == {"top1_error": Figure(0.25, 0.1)}
    assert found.rows[0].confusion == ((0, 0, 3), (1, 0, 1))
    assert found.rows[0].classes == {"a": 1.0, "b": None}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"split": "val"}',
        b'{"split": "val", "rows": [{"name": "a"}]}',
        b'{"split": "val", "protocol": "other", "rows": []}',
        b'{"split": "v", "rows": [{"name": "a", "views": "f", "figures": {}, "images": 1, "members": [], "classes": {},'
        b' "labels": ["x"], "confusion": [[0, 1, 2]]}]}',
        b'{"split": "v", "rows": [{"name": "a", "views": "f", "images": 1, "members": [], "classes": {},'
        b' "figures": {"top1_error": {"mean": NaN, "deviation": null}}}]}',
    ],
)
def test_something_else_is_no_class_metrics(body: bytes):
    with pytest.raises(ArtifactError, match="here: not class metrics"):
        read_class_evaluation(body, "errors", "here")
