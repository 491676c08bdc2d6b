"""The page: self-contained, escaped, with the numbers in it; honest where there are none."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from jobs import formatting
from jobs.report.page.contents import RunInfo, RunReport, StageRow
from jobs.report.page.gallery import Gallery, Tally
from jobs.report.page.panels import training_panels
from jobs.report.page.render import WIDE_CATEGORIES, quarantine_rows, render, time_bars, time_ticks
from jobs.report.plots.curves import best_f1, colour_and_dash, pr_panel, spans_decades
from jobs.report.plots.pictures import draw_failure, draw_picture
from jobs.report.read.detection import CategoryScore, DetectorScore, Evaluation
from jobs.report.read.matching import Detection, match_image
from jobs.report.read.training import TrainingCurve
from jobs.report.tables.detection import result_tables
from pipelines.artifacts.annotations import ObjectAnnotation
from pipelines.engine.ledger import StepSummary
from pipelines.engine.workspace import Quarantined

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
        if self.open and self.open[-1] != "style":
            self.text += data


def curve(ap: float | None, points: int = 50) -> CategoryScore:
    if ap is None:
        return CategoryScore(None, None, 0, 3, 0, None)
    recall = np.linspace(0.02, ap, points)
    return CategoryScore(ap, ap + 0.0123, 40, 90, 31, 0.25, tuple(recall), tuple(1 - recall**2 / 2))


def detector(name: str, aps: Mapping[str, float | None], mean: float) -> DetectorScore:
    return DetectorScore(name, "detections-1", False, mean, mean + 0.01, {k: curve(v) for k, v in aps.items()})


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
    cat, dog = ObjectAnnotation("cat", (10, 10, 50, 50)), ObjectAnnotation("dog", (60, 10, 100, 50))
    match = match_image([Detection("cat", 1.5, cat.box), Detection("cat", 1.25, dog.box)], [cat, dog])
    wrong = next(entry for entry in match.judged if entry.error)
    rows = (
        detector("pool5, 1 scale", {"cat": 0.312, "dog": 0.55, "<b>cow</b>": None}, 0.431),
        detector("fc7 & box regression", {"cat": 0.6125, "dog": 0.5, "<b>cow</b>": None}, 0.5563),
    )
    bad = Quarantined("img_<7>", "truncated", "cut after 9 bytes", "ingest")
    return RunReport(
        info=INFO,
        evaluations=(Evaluation("evaluate", "val", rows),),
        gallery=Gallery(
            "fc7 & box regression",
            "val",
            7,
            9,
            (draw_picture("img_1", image, match),),
            (draw_failure("img_1", image, wrong),),
            {"cat": Tally(5, {"confusion": 4}, 3)},
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
        assert tag not in {"script", "link", "iframe", "object", "embed", "base"}
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
    assert "default-src 'none'" in html


def test_texts_are_escaped(report: RunReport):
    hostile = replace(report, info=replace(INFO, name="</title><script>alert(1)</script>", workspace="a&b<i>"))
    html = render(hostile)
    assert "<script" not in html
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
    picture = replace(report.gallery.pictures[0], key='"><script>')
    html = render(replace(report, gallery=replace(report.gallery, pictures=(picture,))))
    assert "<script" not in html
    panel = pr_panel([curve(0.5)], '"><script>')
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
    assert "5 right 0 localisation 0 duplicate 4 confusion 0 background 3 missed" in text
    assert "7 of 9 images" in text
    assert "1 right · 1 wrong · 1 missed" in text
    assert "cat 1.25 is dogIoU 1.00" in text
    assert "torch 2.14.0" in text
    assert "2023-11-14 22:13 UTC" in text
    ledger = text[text.index("Ledger") :]
    assert "ingest1,233+1=1,2341" in ledger.replace(" ", "")


def test_pictures_are_in_the_page_with_a_text_each(report: RunReport):
    images = [attributes for tag, attributes in Page(render(report)).tags if tag == "img"]
    assert [image["alt"] for image in images] == ["img_1: 1 right, 1 wrong, 1 missed", "taken for cat"]
    assert images[0]["src"] == report.gallery.pictures[0].uri
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


def test_equals_are_bold_together_and_a_single_row_is_not():
    rows = (detector("a", {"cat": 0.30001}, 0.3), detector("b", {"cat": 0.30002}, 0.3))
    table = result_tables(Evaluation("e", "val", rows))[0]
    assert all(cell.best for row in table.rows for cell in row)
    assert not any(cell.best for row in result_tables(Evaluation("e", "val", rows[:1]))[0].rows for cell in row)


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


def test_many_categories_become_rows_and_few_of_them_get_curves(report: RunReport):
    names = [f"category{i:03d}" for i in range(60)]
    rows = tuple(detector(name, {n: 0.2 + i / 100 for i, n in enumerate(names)}, 0.4) for name in ("a", "b"))
    html = render(replace(report, evaluations=(Evaluation("evaluate", "val", rows),), gallery=None))
    assert len(names) > WIDE_CATEGORIES
    assert html.count('class="results tall"') == 2
    assert html.count('class="plot" viewBox') == 40 + 2
    assert "20 best and the 20 worst of 60 categories" in Page(html).text
    assert len(html) < 2_000_000


def test_an_empty_run_says_so():
    text = Page(render(RunReport(info=replace(INFO, finished=None, hosts=(), versions={})))).text
    for phrase in (
        "Nothing has been evaluated yet.",
        "No detections to draw.",
        "No failures to show.",
        "No stage of this run logged training curves.",
        "The recipe has no steps.",
        "No stage is complete yet.",
        "No inputs were quarantined.",
        "not yet",
    ):
        assert phrase in text
    assert "nan" not in text.lower().split()


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


def test_panels_of_a_training():
    points = [{"step": s, "loss": 2.0 / s, "lr": 0.1 / s, "grad": float("nan")} for s in range(1, 40)]
    points[20] |= {"kept": 1, "held_out_error": 0.4, "held_out_accuracy": 0.6, "held_out_objects": 0.3}
    panels = training_panels(TrainingCurve("finetune", "model", tuple(points)))
    assert [panel.title for panel in panels] == ["loss", "error", "accuracy on objects", "learning rate"]
    assert [panel.note for panel in panels[1:3]] == ["at the end 0.4", "at the end 0.3"]
    assert ">0.01<" in panels[3].plot  # a logarithmic axis with plain numbers
    both = training_panels(TrainingCurve("t", "model", ({"step": 1, "loss": 2.0, "box_loss": 1.0},)))
    found = [(panel.title, panel.legend, panel.note) for panel in both]
    assert found == [("loss", ("loss", "box loss"), "at the end 2, 1")]
    alone = training_panels(TrainingCurve("t", "model", tuple({"step": s, "held_out_error": 1 / s} for s in (1, 2))))
    assert [panel.title for panel in alone] == ["error"]


def test_series_beyond_the_palette_are_dashed():
    assert colour_and_dash(0) == ("var(--s1)", "none")
    assert colour_and_dash(8) == ("var(--s1)", "6 3")
    assert colour_and_dash(0) != colour_and_dash(8) != colour_and_dash(16)
    plot = pr_panel([curve(0.5)] * 9, "nine")
    assert all(f"var(--s{i})" in plot for i in range(1, 9))
    assert "stroke-dasharray" in plot
    assert "#" not in re.sub(r"(url\(|href=\")#", "", plot)  # no colour but the style's


def test_plots_of_one_page_share_no_ids():
    found = re.findall(r' id="([^"]+)"', pr_panel([curve(0.5)], "a") + pr_panel([curve(0.5)], "b"))
    assert found
    assert len(found) == len(set(found))


def test_best_f1_and_decades():
    points = CategoryScore(0.5, 0.5, 1, 1, 1, 0.0, (0.1, 0.5, 0.6), (1.0, 0.8, 0.3))
    assert best_f1(points) == (0.5, 0.8)
    assert best_f1(curve(None)) is None
    assert best_f1(replace(points, recall=(0.0,), precision=(0.0,))) is None
    assert spans_decades([1, 0.01])
    assert not spans_decades([1, 0.1])
    assert not spans_decades([1, 0])
    assert not spans_decades([])


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


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 s"),
        (0.042, "0.042 s"),
        (9.04, "9.0 s"),
        (59.9, "60 s"),
        (59.96, "1 min 00 s"),
        (3725, "1 h 02 min"),
        (86399.9, "1 d 00 h"),
        (200_000, "2 d 07 h"),
    ],
)
def test_durations(value: float, text: str):
    assert formatting.duration(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (999_499, "999 kB"), (999_500, "1.00 MB"), (3 * 10**12, "3.00 TB")],
)
def test_sizes(value: int, text: str):
    assert formatting.size(value) == text


def test_other_figures():
    fractions = (0.5963, 1.0, 0.0, None, float("nan"))
    assert [formatting.percent(value) for value in fractions] == [
        "59.6",
        "100.0",
        "0.0",
        formatting.NONE,
        formatting.NONE,
    ]
    assert formatting.rate(10, 0, "keys") == formatting.NONE
    assert formatting.rate(1, 1000, "keys") == "3.60 keys/h"
    assert formatting.rate(12_345, 1, "keys") == "12,345 keys/s"
    assert formatting.count(1234567) == "1,234,567"
    assert formatting.significant(0.0012345) == "0.00123"
