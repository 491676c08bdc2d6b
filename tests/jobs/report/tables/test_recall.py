"""Tables of proposals' recall, and their block on the page."""

from __future__ import annotations

import re
from dataclasses import replace

from jobs import formatting
from jobs.report.page.contents import RunInfo, RunReport
from jobs.report.page.panels import recall_panels
from jobs.report.page.render import render
from jobs.report.read.recall import RecallEvaluation
from jobs.report.tables.recall import mean_windows, recall_table
from tests.support.reported import recall_row

INFO = RunInfo("proposals", "p.yaml", "w", 1.7e9, None, (), {})


def test_recall_at_two_overlaps_and_on_average(recall_evaluation: RecallEvaluation):
    table = recall_table(recall_evaluation)
    assert table.columns == ("recall at 0.5", "recall at 0.7", "average recall")
    assert [[(cell.text, cell.best) for cell in line] for line in table.rows] == [
        [("91.0", True), ("50.0", False), ("41.0", True)],
        [("85.0", False), ("60.0", True), ("30.0", False)],
        [(formatting.NONE, False)] * 3,
    ]
    assert [(name, objects, [cell.text for cell in cells]) for name, objects, cells in table.categories] == [
        ("cat", 7, ["25.0", "25.0", "25.0"]),
        ("<i>dog", 5, ["41.0", "30.0", formatting.NONE]),
    ]
    assert table.misses
    assert not recall_table(replace(recall_evaluation, images=3)).misses
    assert recall_table(replace(recall_evaluation, ious=(0.5, 0.6, 0.8))).columns == ("recall at 0.5", "average recall")


def test_nothing_to_look_for_is_said(recall_evaluation: RecallEvaluation):
    nothing = replace(recall_evaluation, rows=recall_evaluation.rows[2:])
    assert recall_panels(nothing) == ()
    html = render(RunReport(info=INFO, proposals=(nothing,)))
    assert "There were no objects to look for." in html


def test_the_page_has_a_block_per_step_and_escapes_names(recall_evaluation: RecallEvaluation):
    other = replace(recall_evaluation, step="training", split="<train>")
    html = render(RunReport(info=INFO, proposals=(recall_evaluation, other)))
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))
    assert html.count('<section id="proposals">') == html.count('href="#proposals"') == 1
    assert html.count('class="plot"') == 6
    assert "recall, split “val”" in text
    assert "training, split “&lt;train&gt;”" in text
    assert "4 images; 3 difficult objects are left out" in text
    assert f"ss {formatting.NONE} 1,234 91.0 50.0 41.0 12 0" in text
    assert "&lt;b&gt;eb EdgeBoxes &amp; more 99.9 85.0 60.0 30.0 12 0" in text
    assert f"none {' '.join([formatting.NONE] * 5)} 0 1" in text
    assert "<b>eb" not in html
    assert "<i>dog" not in html
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert 'id="detections"' not in html
    assert "Nothing has been evaluated yet" not in html
    assert 'id="proposals"' not in render(RunReport(info=INFO))


def test_mean_windows():
    found = [recall_row("n", mean) for mean in (None, 0.0, 7.25, 2124.96)]
    assert [mean_windows(entry) for entry in found] == [formatting.NONE, "0", "7.25", "2,125"]
