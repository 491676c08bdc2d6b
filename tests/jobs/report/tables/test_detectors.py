"""The table of detectors: read from a recipe and from commits of known seconds; numbers, escapes, unions."""

from __future__ import annotations

import re
from dataclasses import replace

from jobs import formatting
from jobs.report.page.collect import collect
from jobs.report.page.contents import RunInfo, RunReport
from jobs.report.page.render import render
from jobs.report.read.detection import DetectorScore, Evaluation
from jobs.report.tables.detectors import DetectorTable, detector_table
from tests.support.chain import Chain
from tests.support.measured_detectors import detector_account

UNTOLD = (formatting.NONE, formatting.NONE)
"""Parts of scoring that its commits don't tell."""


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


def test_much_is_told_in_short():
    many = detector_account(scales=(480, 576, 688, 864, 1200), backbones=tuple("abcdef"))
    (found,) = detector_table(Evaluation("m", "val", (DetectorScore("a", "d-1", False, 0.5, 0.25, {}, many),))).rows
    assert found.made == ("pool5", "480 to 1200 (5)", "w<i>", "a + 5 more", "maps")


def test_the_table_is_on_the_page_and_escaped():
    rows = (
        DetectorScore("a<b>", "detections-1", False, 0.5, 0.25, {}, detector_account()),
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


def test_shared_maps_are_read_once_and_a_broken_commit_is_told_once(measured: Chain):
    commits = measured.root / measured.artifact("maps").name / "_commits"
    (commits / f"{measured.unit('s0240/val/000001')}.json").write_text("{}")
    report = collect(measured.engine)
    times = {row.name: row.times for row in detector_table(report.evaluations[0]).rows}
    assert times["pool5"] == (formatting.NONE, "100", *UNTOLD, formatting.NONE)
    assert times["pool5"][0] == times["fc7+bb"][0] == formatting.NONE
    assert times["second"][0] == "1,250"
    told = [note for note in report.notes if note.startswith(f"What {measured.artifact('maps').name} took")]
    assert len(told) == 1
