"""The page: self-contained, escaped, with the numbers in it; honest where there are none."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from jobs import formatting
from jobs.report.page.contents import RunInfo, RunReport, StageRow
from jobs.report.page.filters import FilterGallery, FilterRow
from jobs.report.page.gallery import Gallery, Mark, Shot
from jobs.report.page.render import WIDE_CATEGORIES, quarantine_rows, render, time_bars, time_ticks
from jobs.report.plots.curves import pr_panel
from jobs.report.plots.pictures import draw_failure, draw_field, plain_picture
from jobs.report.read.classification import ClassEvaluation
from jobs.report.read.detection import CategoryScore, Evaluation
from jobs.report.read.differences import Difference
from jobs.report.read.failures import FalsePositive
from jobs.report.read.training import TrainingCurve
from jobs.report.tables.against import AgainstTable
from jobs.report.tables.cells import Cell
from jobs.report.tables.detection import result_tables
from jobs.report.tables.detectors import detector_table
from jobs.report.tables.score_counts import CountRow, ScoreCounts
from jobs.report.tables.weaknesses import WeaknessRow, WeaknessTable
from pipelines.engine.commits import Quarantined
from pipelines.engine.ledger import StepSummary
from sppnet.evaluation.coco import FIGURES
from tests.support.measured_detectors import detector_account
from tests.support.reported import ap_curve, detector_score

VOID = {"meta", "img", "br", "link", "hr", "input", "source"}


class Page(HTMLParser):
    """Checks that tags nest, and keeps them with the text of the page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in {"style", "script"}:
            self.text += data


def summary(step: str, *, keys: int, quarantined: tuple[Quarantined, ...] = (), wall: float = 10.0) -> StepSummary:
    return StepSummary(
        step=step,
        stage=step,
        artifact=f"{step}-0123456789ab",
        units=4,
        keys=keys,
        done=keys - len(quarantined),
        own_quarantined=sum(entry.stage == step for entry in quarantined),
        quarantined=quarantined,
        rows=17,
        bytes=12_345_678,
        seconds=2 * wall,
        wall_seconds=wall,
        metrics={"windows": 18_000} if step == "propose" else {},
    )


def stage(entry: StepSummary) -> StageRow:
    return StageRow(entry.step, entry.stage, entry.artifact, entry.units, entry.units, entry)


INFO = RunInfo("small-run", "recipes/small.yaml", "s3://bucket/w", 1.7e9, 1.69e9, ("node-1",), {"torch": "2.14.0"})


@pytest.fixture(scope="module")
def report() -> RunReport:
    image = np.random.default_rng(0).integers(0, 255, (90, 120, 3)).astype(np.uint8)
    wrong = FalsePositive(0, "cat", 1.25, (60, 10, 100, 50), "classification", "dog", (60, 10, 100, 50), 1.0)
    uri, size, _ = plain_picture(image, 60)
    marks = (
        Mark(1, (40, 6, 66, 33), "missed", None, True),
        Mark(0, (40, 6, 66, 33), "both", 0.125, False),
        Mark(0, (40, 6, 66, 33), "classification", 1.25, True),
        Mark(0, (6, 6, 33, 33), "right", 1.5, True),
    )
    rows = (
        detector_score("pool5, 1 scale", {"cat": 0.312, "dog": 0.55, "<b>cow</b>": None}, 0.431),
        detector_score("fc7 & box regression", {"cat": 0.6125, "dog": 0.5, "<b>cow</b>": None}, 0.5563),
    )
    bad = Quarantined("img_<7>", "truncated", "cut after 9 bytes", "ingest")
    return RunReport(
        info=INFO,
        evaluations=(Evaluation("evaluate", "val", rows),),
        gallery=Gallery(
            "fc7 & box regression",
            "val",
            ("cat", "dog", "<b>cow</b>"),
            7,
            9,
            (Shot("img_1", uri, *size, marks, (("worst", 0),), True),),
            (draw_failure("img_1", image, wrong),),
        ),
        weaknesses=WeaknessTable(
            ("classification", "missed"),
            WeaknessRow(
                "mean", ("55.6", "7", "1.0", "2.0", "3.0", "98.0"), (Cell("4.5", True), Cell("0.5", False)), ""
            ),
            (WeaknessRow("cat", ("61.2", "4", "1.0", "2.0", "3.0", "98.0"), (Cell("9.0", True),) * 2, "dog (3)"),),
            ("Classification costs 4.5 points.",),
            partial=False,
        ),
        counts=ScoreCounts(
            (CountRow("cat", 1.0, 5, (4, 0, 0, 0, 0), 3),),
            CountRow("all", None, 5, (4, 0, 0, 0, 0), 3),
            {"grid": [0.5, 1.5], "operating": [1.0], "objects": [8], "counts": [[[6, 2], *[[0, 0]] * 5]]},
        ),
        against=AgainstTable(
            "small/a", "small/<b>", ("fc6", "fc7"), (("mean", "50.0", "55.6", "+5.6"),), (("svms.c", "1", "2"),)
        ),
        training=(
            TrainingCurve("finetune", "model", tuple({"step": i, "loss": 1 / i, "lr": 0.01} for i in range(1, 30))),
        ),
        stages=(
            stage(summary("ingest", keys=1234, quarantined=(bad,))),
            stage(summary("propose", keys=1234, quarantined=(bad,), wall=90.0)),
            StageRow("score", "score", "detections-1", 3, 8, None),
            StageRow("evaluate", "evaluate", "metrics-1", 0, None, None),
        ),
        recipe_yaml="version: 1\nname: <small>\n",
    )


def test_the_page_needs_nothing_but_itself(report: RunReport):
    html = render(report)
    page = Page(html)
    for tag, attributes in page.tags:
        assert tag not in {"link", "iframe", "object", "embed", "base"}
        for name in ("src", "href", "xlink:href", "srcset", "action", "data"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:image/", "#")), (tag, name, value)
        assert not any(name.startswith("on") for name in attributes)
    assert not re.search(r"https?:|//[a-z]|@import", re.sub(r"base64,[\w+/=]*|s3://bucket", "", html))
    styles = "".join(re.findall(r"<style>.*?</style>", html, re.DOTALL))
    assert styles.count("<style>") == 1  # plots bring none of their own
    assert "url(" not in styles
    assert "prefers-color-scheme: dark" in styles
    assert "@media print" in styles
    data, script = re.findall(r"<script([^>]*)>(.*?)</script>", html, re.DOTALL)
    assert data[0] == ' type="application/json" id="data"'
    assert json.loads(data[1]) == report.counts.grid
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'" in html
    assert script[0] == ""
    assert "innerHTML" not in script[1]


def test_texts_are_escaped(report: RunReport):
    hostile = replace(report, info=replace(INFO, name="</title><script>alert(1)</script>", workspace="a&b<i>"))
    html = render(hostile)
    assert html.count("<script") == 2  # the data and our own
    assert "alert(1)</script>" not in html
    assert "<b>cow" not in html
    assert "&lt;b&gt;cow&lt;/b&gt;" in html
    text = Page(html).text
    for name in (
        "<b>cow</b>",
        "a&b<i>",
        "fc7 & box regression",
        "img_<7>",
        "name: <small>",
        "</title><script>alert(1)",
    ):
        assert name in text


def test_hostile_text_can_not_leave_an_attribute(report: RunReport):
    hostile = '"></script><img src=x onerror=alert(1)>'
    shot = replace(report.gallery.shots[0], key=hostile)
    gallery = replace(report.gallery, shots=(shot,), categories=(hostile,) * 3)
    counts = replace(report.counts, rows=(replace(report.counts.rows[0], category=hostile),))
    weak = replace(report.weaknesses, rows=(replace(report.weaknesses.rows[0], name=hostile, confused=hostile),))
    against = replace(report.against, there=hostile, rows=((hostile,) * 4,), recipe=((hostile,) * 3,))
    html = render(replace(report, gallery=gallery, counts=counts, weaknesses=weak, against=against))
    assert html.count("<script") == html.count("</script>") == 2
    assert "<img src=x" not in html
    assert not any("onerror" in attributes for _, attributes in Page(html).tags)
    panel = pr_panel([ap_curve(0.5)], '"><script>', 0)
    assert "<script" not in panel
    assert "&#34;&gt;&lt;script&gt;" in panel


def test_the_numbers_are_there(report: RunReport):
    page = Page(render(report))
    text = re.sub(r"\s+", " ", page.text)
    assert "55.6 %" in text  # the final detector's mean
    assert "56.6 %" in text  # and its area mean
    assert "1,234 = 1,233 + 1" in text
    assert "12.3 MB" in text
    assert "200 windows/s" in text  # 18,000 in 90 s
    assert "123 keys/s" in text
    assert "3 of 8incomplete" in text
    assert "0 of ?not run" in text
    assert "1 truncated" in text
    assert "cut after 9 bytes" in text
    assert f"all{formatting.NONE}5400003 cat1.005400003" in text
    assert "7 of the 9 images" in text
    assert "1 right · 1 wrong · 1 missed" in text
    assert "cat 1.25 is dogIoU 1.00" in text
    assert "torch 2.14.0" in text
    assert "2023-11-14 22:13 UTC" in text
    ledger = text[text.index("Ledger") :]
    assert "ingest1,233+1=1,2341" in ledger.replace(" ", "")


def test_pictures_are_in_the_page_with_a_text_each(report: RunReport):
    tags = Page(render(report)).tags
    assert [attributes["alt"] for tag, attributes in tags if tag == "img"] == ["taken for cat"]
    (picture,) = [attributes for tag, attributes in tags if tag == "image"]
    assert picture["href"] == report.gallery.shots[0].uri
    labels = [attributes["aria-label"] for tag, attributes in tags if attributes.get("role") == "img"]
    assert "img_1: 1 right · 1 wrong · 1 missed" in labels
    plots = [attributes for tag, attributes in Page(render(report)).tags if attributes.get("class") == "plot"]
    assert [plot["aria-label"] for plot in plots] == [
        "Precision over recall, cat",
        "Precision over recall, dog",
        "loss of finetune over training steps",
        "learning rate of finetune over training steps",
    ]


def test_the_best_of_a_column_is_bold(report: RunReport):
    eleven, area = result_tables(report.evaluations[0])
    assert [[(cell.text, cell.best) for cell in row] for row in eleven.rows] == [
        [("43.1", False), ("31.2", False), ("55.0", True), (formatting.NONE, False)],
        [("55.6", True), ("61.3", True), ("50.0", False), (formatting.NONE, False)],
    ]
    assert area.rows[1][1].text == "62.5"


def test_by_dets_rule_there_is_one_ap(report: RunReport):
    def judged(score: CategoryScore) -> CategoryScore:
        return replace(score, voc07_ap=None)

    rows = tuple(
        replace(row, voc07_map=None, categories={name: judged(score) for name, score in row.categories.items()})
        for row in report.evaluations[0].rows
    )
    html = render(replace(report, evaluations=(Evaluation("evaluate", "val2", rows, "det"),), gallery=None))
    text = re.sub(r"\s+", " ", Page(html).text)
    assert "56.6 %mAP, ILSVRC DET, area" in text  # the final detector's mean
    assert "11-point" not in text
    assert html.count('class="results') == 1  # one table
    assert "Number: AP (ILSVRC DET, area) of fc7 & box regression" in text
    plots = [attributes for tag, attributes in Page(html).tags if attributes.get("class") == "plot"]
    assert [plot["aria-label"] for plot in plots][:2] == ["Precision over recall, cat", "Precision over recall, dog"]


def test_by_cocos_rule_there_are_twelve_figures(report: RunReport):
    figures = {name: n / 100 for n, name in enumerate(FIGURES, 10)} | {"APsmall": None}

    def judged(score: CategoryScore) -> CategoryScore:
        return replace(score, voc07_ap=None, area_ap=None, coco=figures if score.positives else {})

    rows = tuple(
        replace(
            row,
            voc07_map=None,
            area_map=None,
            coco=figures,
            categories={name: judged(score) for name, score in row.categories.items()},
            account=detector_account(),
        )
        for row in report.evaluations[0].rows
    )
    html = render(replace(report, evaluations=(Evaluation("evaluate", "val", rows, "coco"),), gallery=None))
    text = re.sub(r"\s+", " ", Page(html).text)
    assert "10.0 %mAP, COCO, overlaps 0.5 to 0.95" in text
    assert "11.0 %mAP at overlap 0.5" in text
    assert "AP in percent, at overlap 0.5." in text
    assert html.count('class="results') == 2
    table = detector_table(Evaluation("evaluate", "val", rows, "coco"))
    assert table.metrics == tuple(name for name in FIGURES if name != "APsmall")
    assert "11-point" not in text


def test_many_categories_become_rows_and_few_of_them_get_curves(report: RunReport):
    names = [f"category{i:03d}" for i in range(60)]
    rows = tuple(detector_score(name, {n: 0.2 + i / 100 for i, n in enumerate(names)}, 0.4) for name in ("a", "b"))
    html = render(replace(report, evaluations=(Evaluation("evaluate", "val", rows),), gallery=None))
    assert len(names) > WIDE_CATEGORIES
    assert html.count('class="results tall sortable"') == 2
    assert html.count('class="plot" viewBox') == 40 + 2
    assert "20 best and the 20 worst of 60 categories" in Page(html).text
    assert len(html) < 2_000_000


def test_an_empty_run_says_so():
    text = Page(render(RunReport(info=replace(INFO, finished=None, hosts=(), versions={})))).text
    for phrase in (
        "Nothing has been evaluated yet.",
        "No detections to draw.",
        "No failures to show.",
        "The recipe has no steps.",
        "No stage is complete yet.",
        "No inputs were quarantined.",
        "not yet",
    ):
        assert phrase in text
    assert "nan" not in text.lower().split()
    assert "Training" not in text.split()


def test_an_evaluation_without_rows_and_a_training_without_points_render():
    empty = RunReport(
        info=INFO,
        evaluations=(Evaluation("e", "val", ()),),
        training=(TrainingCurve("finetune", "model", ()),),
        notes=("A!",),
    )
    text = Page(render(empty)).text
    assert "No detectors were evaluated." in text
    assert "This stage logged no figures." in text
    assert "A!" in text


def test_equal_reports_give_equal_pages(report: RunReport):
    assert render(report) == render(report)


def test_bars_fill_the_run_without_gaps(report: RunReport):
    bars = time_bars(report.stages)
    assert [(bar.row.step, bar.left, bar.width, bar.parallel) for bar in bars] == [
        ("ingest", 0.0, 10.0, 2.0),
        ("propose", 10.0, 90.0, 2.0),
    ]
    assert time_ticks(report.stages) == (
        (0.0, "0 s"),
        (20.0, "20 s"),
        (40.0, "40 s"),
        (60.0, "1 min"),
        (80.0, "1 min 20 s"),
        (100.0, "1 min 40 s"),
    )
    assert time_bars([stage(summary("a", keys=0, wall=0.0))]) == ()
    assert time_ticks([]) == ()


def test_an_input_is_listed_once_however_many_stages_account_for_it(report: RunReport):
    found = quarantine_rows(report.stages)
    assert found.entries == (("img_<7>", "ingest", "truncated", "cut after 9 bytes"),)
    assert found.reasons == {"truncated": 1}


def test_the_page_of_a_run_that_only_classifies(class_evaluation: ClassEvaluation):
    image = np.full((30, 40, 3), 200, np.uint8)
    gallery = FilterGallery(
        "strongest", ("val",), (FilterRow(17, (draw_field("a<b", image, (0, 0, 9, 9), 2.5),)), FilterRow(3, ())), 5
    )
    html = render(RunReport(info=INFO, classes=(class_evaluation,), filters=(gallery,)))
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


def test_differences_have_their_intervals(report: RunReport, class_evaluation: ClassEvaluation):
    sure = Difference("SPP", "spp, crop", "none, crop", -0.02, (-0.02,), (-0.03, -0.01), (-0.025, -0.015))
    html = render(RunReport(info=INFO, classes=(replace(class_evaluation, differences=(sure,)),)))
    assert '<td class="n best">\u22122.0</td><td class="n">\u22123.0 to \u22121.0</td>' in html
    open_question = Difference("boxes", "a+bb", "a", 0.01, (), None, (-0.01, 0.03))
    evaluation = replace(report.evaluations[0], differences=(open_question,))
    html = render(replace(report, evaluations=(evaluation,)))
    assert '<td>a+bb</td><td>a</td><td class="n">+1.0</td><td class="n">\u22121.0 to +3.0</td>' in html
    assert "other members" not in html
