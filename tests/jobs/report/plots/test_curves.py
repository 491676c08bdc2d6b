"""Curves as SVG: the style's colours, ids of their own, every value within the axes."""

from __future__ import annotations

import re
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.report.plots.curves import Line, best_f1, colour_and_dash, pr_panel, recall_panel, spans_decades
from jobs.report.read.detection import CategoryScore
from tests.support.reported import ap_curve, line_points


def test_series_beyond_the_palette_are_dashed():
    assert colour_and_dash(0) == ("var(--s1)", "none")
    assert colour_and_dash(8) == ("var(--s1)", "6 3")
    assert colour_and_dash(0) != colour_and_dash(8) != colour_and_dash(16)
    plot = pr_panel([ap_curve(0.5)] * 9, "nine", 8)
    assert all(f"var(--s{i})" in plot for i in range(1, 9))
    assert "stroke-dasharray" in plot
    assert "#" not in re.sub(r"(url\(|href=\")#", "", plot)  # no colour but the style's


def test_plots_of_one_page_share_no_ids():
    found = re.findall(r' id="([^"]+)"', pr_panel([ap_curve(0.5)], "a", 0) + pr_panel([ap_curve(0.5)], "b", 0))
    assert found
    assert len(found) == len(set(found))


def test_best_f1_and_decades():
    points = CategoryScore(0.5, 0.5, 1, 1, 1, 0.0, (0.1, 0.5, 0.6), (1.0, 0.8, 0.3))
    assert best_f1(points) == (0.5, 0.8)
    assert best_f1(ap_curve(None)) is None
    assert best_f1(replace(points, recall=(0.0,), precision=(0.0,))) is None
    assert spans_decades([1, 0.01])
    assert not spans_decades([1, 0.1])
    assert not spans_decades([1, 0])
    assert not spans_decades([])


@settings(max_examples=25)
@given(st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=6), min_size=1, max_size=4))
def test_every_value_is_drawn_within_the_axes(values: list[list[float]]):
    lines = [Line("n", tuple(float(i + 1) for i in range(len(line))), tuple(line)) for line in values]
    svg = recall_panel(lines, "l", over="windows an image", log=True)
    height = float(re.search(r'viewBox="0 0 \S+ (\S+)"', svg)[1])
    for series, line in enumerate(values, start=1):
        drawn = line_points(svg, series)
        assert 1 <= len(drawn) <= len(line)  # matplotlib leaves out points on a straight line
        assert all(0 < y < height for _, y in drawn)
