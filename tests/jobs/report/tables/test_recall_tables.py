"""Recall of proposals in the report: read from real recall steps, a line a step, the numbers as they were measured."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.report import render
from jobs.report.page.collect import collect
from jobs.report.plots.curves import Line, recall_panel
from jobs.report.read.model import RunInfo, RunReport
from jobs.report.read.recall_model import RecallCurve, RecallEvaluation, RecallRow
from jobs.report.read.recall_reader import read_recall, windows_method
from jobs.report.tables import figures
from jobs.report.tables.recall_tables import mean_windows, recall_panels, recall_table
from sppnet.errors import ArtifactError
from tests.support.chain import Chain

INFO = RunInfo("proposals", "p.yaml", "w", 1.7e9, None, (), {})
IOUS = (0.5, 0.6, 0.7)
RECALL = {"stage": "recall", "images": "images", "windows": ["searched", "edges"], "counts": [5, 20, 1000]}
PROPOSE = {"stage": "propose", "images": "images", "max_windows": 40}


def row(name: str, mean: float | None, *points: tuple[int | None, tuple[float, ...], float], **fields) -> RecallRow:
    curves = tuple(RecallCurve(*point) for point in points)
    categories = {"cat": (7, 0.25), "<i>dog": (5, points[-1][2] if points else None)}
    return replace(RecallRow(name, "", 4, mean, 12 if points else 0, curves, categories), **fields)


@pytest.fixture
def evaluation() -> RecallEvaluation:
    rows = (
        row("ss", 1234.5, (10, (0.3, 0.2, 0.1), 0.15), (2000, (0.9, 0.7, 0.49), 0.4), (None, (0.91, 0.7, 0.5), 0.41)),
        row("<b>eb", 99.94, (10, (0.4, 0.2, 0.1), 0.2), (None, (0.85, 0.7, 0.6), 0.3), method="EdgeBoxes & more"),
        row("none", None, images=3),
    )
    return RecallEvaluation("recall", "val", 4, 3, IOUS, rows)


def points(svg: str, series: int) -> list[tuple[float, float]]:
    """The points of a line, in the SVG's own units."""
    paths = re.findall(rf'<path d="([^"]+)"[^>]*style="[^"]*stroke: var\(--s{series}\)[^"]*stroke-width: 1.6', svg)
    assert len(paths) <= 1
    return [(float(x), float(y)) for x, y in re.findall(r"[ML] (\S+) (\S+)", paths[0])] if paths else []


def test_recall_at_two_overlaps_and_on_average(evaluation: RecallEvaluation):
    table = recall_table(evaluation)
    assert table.columns == ("recall at 0.5", "recall at 0.7", "average recall")
    assert [[(cell.text, cell.best) for cell in line] for line in table.rows] == [
        [("91.0", True), ("50.0", False), ("41.0", True)],
        [("85.0", False), ("60.0", True), ("30.0", False)],
        [(figures.NONE, False)] * 3,
    ]
    assert [(name, objects, [cell.text for cell in cells]) for name, objects, cells in table.categories] == [
        ("cat", 7, ["25.0", "25.0", "25.0"]),
        ("<i>dog", 5, ["41.0", "30.0", figures.NONE]),
    ]
    assert table.misses
    assert not recall_table(replace(evaluation, images=3)).misses
    assert recall_table(replace(evaluation, ious=(0.5, 0.6, 0.8))).columns == ("recall at 0.5", "average recall")


def test_a_line_per_step_with_all_windows_at_their_mean_number(evaluation: RecallEvaluation):
    by_iou, at_half, at_more = recall_panels(evaluation)
    assert [panel.title for panel in (by_iou, at_half, at_more)] == [
        "recall by IoU",
        "recall at IoU 0.5",
        "recall at IoU 0.7",
    ]
    assert [len(points(by_iou.plot, series)) for series in (1, 2, 3)] == [3, 3, 0]
    # 2,000 windows are more than the images have on average: the last point is that of all of them.
    for panel in (at_half, at_more):
        assert [len(points(panel.plot, series)) for series in (1, 2, 3)] == [2, 2, 0]
    (first, last), (other, end) = points(at_half.plot, 1), points(at_half.plot, 2)
    assert first[0] == other[0]  # ten windows
    assert first[1] > other[1] > last[1]  # an SVG's y grows downwards
    distances = [(x - first[0]) / np.log(n / 10) for (x, _), n in ((last, 1234.5), (end, 99.94))]
    assert distances[0] == pytest.approx(distances[1], rel=1e-3)  # a logarithmic axis
    assert ">1,000<" in at_half.plot
    assert ">IoU<" in by_iou.plot


def test_nothing_to_look_for_is_said(evaluation: RecallEvaluation):
    nothing = replace(evaluation, rows=evaluation.rows[2:])
    assert recall_panels(nothing) == ()
    html = render(RunReport(info=INFO, proposals=(nothing,)))
    assert "There were no objects to look for." in html


@settings(max_examples=25)
@given(st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=6), min_size=1, max_size=4))
def test_every_value_is_drawn_within_the_axes(values: list[list[float]]):
    lines = [Line("n", tuple(float(i + 1) for i in range(len(line))), tuple(line)) for line in values]
    svg = recall_panel(lines, "l", over="windows an image", log=True)
    height = float(re.search(r'viewBox="0 0 \S+ (\S+)"', svg)[1])
    for series, line in enumerate(values, start=1):
        drawn = points(svg, series)
        assert 1 <= len(drawn) <= len(line)  # matplotlib leaves out points on a straight line
        assert all(0 < y < height for _, y in drawn)


def test_the_page_has_a_block_per_step_and_escapes_names(evaluation: RecallEvaluation):
    other = replace(evaluation, step="training", split="<train>")
    html = render(RunReport(info=INFO, proposals=(evaluation, other)))
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))
    assert html.count('<section id="proposals">') == html.count('href="#proposals"') == 1
    assert html.count('class="plot"') == 6
    assert "recall, split “val”" in text
    assert "training, split “&lt;train&gt;”" in text
    assert "4 images; 3 difficult objects are left out" in text
    assert f"ss {figures.NONE} 1,234 91.0 50.0 41.0 12 0" in text
    assert "&lt;b&gt;eb EdgeBoxes &amp; more 99.9 85.0 60.0 30.0 12 0" in text
    assert f"none {' '.join([figures.NONE] * 5)} 0 1" in text
    assert "<b>eb" not in html
    assert "<i>dog" not in html
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert 'id="detections"' not in html
    assert "Nothing has been evaluated yet" not in html
    assert 'id="proposals"' not in render(RunReport(info=INFO))


@pytest.mark.parametrize(
    ("preimage", "method"),
    [
        ({"stage": "propose", "config": {"methods": ["selective-search"], "max_windows": None}}, "selective search"),
        (
            {
                "stage": "propose",
                "config": {"methods": ["edge-boxes"], "max_windows": 2000, "edge_boxes": {"edges": "structured"}},
            },
            "EdgeBoxes on structured edges, at most 2,000",
        ),
        (
            {
                "stage": "propose",
                "config": {
                    "methods": ["selective-search", "edge-boxes"],
                    "max_windows": 50,
                    "edge_boxes": {"edges": "gradient"},
                },
            },
            "selective search and EdgeBoxes on gradient edges, at most 50 each",
        ),
        ({"stage": "import-windows", "config": {"max_windows": None}}, "imported"),
        ({"stage": "ingest"}, ""),
    ],
)
def test_the_method_is_named_from_what_the_windows_were_made_from(preimage: dict, method: str):
    assert windows_method(preimage) == method


def test_mean_windows():
    found = [row("n", mean) for mean in (None, 0.0, 7.25, 2124.96)]
    assert [mean_windows(entry) for entry in found] == [figures.NONE, "0", "7.25", "2,125"]


@pytest.fixture(scope="module")
def recalled(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Chain:
    """Recall of two steps' windows, once with overlaps in another order."""
    steps = {
        "images": {"stage": "ingest", "shard_size": 5, "dataset": {"root": str(drawn)}},
        "searched": PROPOSE,
        "edges": {**PROPOSE, "methods": ["edge-boxes"]},
        "recall": RECALL,
        "training": {**RECALL, "split": "train", "ious": [0.7, 0.5]},
    }
    made = Chain(drawn, steps, tmp_path_factory.mktemp("recalled") / "workspace")
    made.run()
    return made


def test_what_recall_wrote_is_read(recalled: Chain):
    report = collect(recalled.engine)
    assert report.notes == ()
    assert [(found.step, found.split) for found in report.proposals] == [("recall", "val"), ("training", "train")]
    for found in report.proposals:
        stored = json.loads(recalled.artifact(found.step).read("recall"))
        assert (found.images, found.difficult) == (stored["images"], stored["difficult"])
        assert found.ious == tuple(sorted(stored["ious"]))
        order = np.argsort(stored["ious"])
        assert [entry.name for entry in found.rows] == ["searched", "edges"]
        for shown, entry in zip(found.rows, stored["rows"], strict=True):
            assert (shown.objects, shown.windows_per_image) == (entry["objects"], entry["windows_per_image"])
            assert shown.images == entry["images_with_windows"] == stored["images"]
            for curve, written in zip(shown.curves, entry["curves"], strict=True):
                assert curve.windows == written["windows"]
                assert curve.recall == tuple(written["recall"][place] for place in order)
                assert list(curve.recall) == sorted(curve.recall, reverse=True)
                assert curve.average_recall == written["average_recall"]
            assert shown.whole.windows is None
            assert {name: count for name, (count, _) in shown.categories.items()} == {
                name: category["objects"] for name, category in entry["categories"].items()
            }
    assert [entry.method for entry in report.proposals[0].rows] == [
        "selective search, at most 40",
        "EdgeBoxes on gradient edges, at most 40",
    ]
    assert report.info.finished == recalled.artifact("training").commit("recall").created
    html = render(report)
    best = report.proposals[0].rows[0].whole.recall[0]
    assert f">{figures.percent(best)}</td>" in html


def test_a_lost_recall_is_told(recalled: Chain, tmp_path: Path):
    copy = recalled.copied(tmp_path / "ws", ("images", "recall", "training"))
    for file in (copy.root / copy.step("recall").spec.artifact).glob("recall-*.json"):
        file.write_bytes(b"{}")
    report = collect(copy.engine)
    assert [found.step for found in report.proposals] == ["training"]
    assert [note.split(": ")[0] for note in report.notes] == ["Step recall can't be shown"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"split": "val", "images": 1, "difficult": 0, "ious": [0.5]}',
        b'{"split": "val", "images": 1, "difficult": 0, "ious": [NaN], "rows": []}',
        b'{"split": "v", "images": 1, "difficult": 0, "ious": [0.5, 0.7], "rows": [{"name": "a", "windows": "w",'
        b' "objects": 1, "images_with_windows": 1, "windows_per_image": 1, "categories": {},'
        b' "curves": [{"windows": null, "recall": [0.5], "average_recall": 0.5}]}]}',
    ],
)
def test_something_else_is_no_recall(body: bytes):
    with pytest.raises(ArtifactError, match="here: not recall"):
        read_recall(body, "recall", {}, "here")
