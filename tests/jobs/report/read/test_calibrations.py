"""What scores mean, read and shown as a calibrate step wrote it."""

from __future__ import annotations

import time

import pytest

from jobs.report.page.contents import RunInfo, RunReport
from jobs.report.page.render import render
from jobs.report.read.calibrations import CalibrationRow, ScoreMeanings, read_meanings
from pipelines.artifacts.calibrations import Calibration, CategoryCalibration
from pipelines.engine.codec import encode
from sppnet.errors import ArtifactError

WRITTEN = Calibration(
    ("svms-1", "regressors-1"),
    "held-out",
    {"n01": CategoryCalibration(4.0, 2.0, 12, 30, True), "dog": CategoryCalibration(3.0, 1.5, 2, 9, False)},
)


def test_the_lines_are_read_by_the_words_of_people() -> None:
    found = read_meanings(encode(WRITTEN), "odds", {"n01": "<cat>"}, "calibration-1")
    assert (found.step, found.split) == ("odds", "held-out")
    assert found.rows == (
        CalibrationRow("dog", 2, 9, 3.0, 1.5, False),
        CalibrationRow("<cat>", 12, 30, 4.0, 2.0, True),
    )
    assert [row.even for row in found.rows] == [-0.5, -0.5]


@pytest.mark.parametrize("slope", ["0.0", "-1.0", "NaN", '"steep"'])
def test_a_line_that_does_not_rise_is_corrupt(slope: str) -> None:
    data = encode(WRITTEN).replace(b"4.0", slope.encode())
    with pytest.raises(ArtifactError, match="calibration-1"):
        read_meanings(data, "odds", {}, "calibration-1")


def test_the_page_has_a_row_for_each_category() -> None:
    found = read_meanings(encode(WRITTEN), "odds", {"n01": "<cat>"}, "calibration-1")
    info = RunInfo("run", "recipe.yaml", "ws", time.time(), None, (), {})
    html = render(RunReport(info=info, calibrations=(found, ScoreMeanings("none", "held-out", ()))))
    assert "What scores mean: odds" in html
    assert (
        '<th scope="row">&lt;cat&gt;</th><td class="n">12</td><td class="n">30</td><td class="n">4.00</td>'
        '<td class="n">2.00</td><td class="n">-0.50</td><td>its own</td>'
    ) in html
    assert "<td>all categories</td>" in html
