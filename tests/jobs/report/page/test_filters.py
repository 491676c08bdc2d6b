"""Filters of an activations step are drawn on the images that they respond to."""

from __future__ import annotations

from jobs.report.page.collect import collect
from pipelines.artifacts.activations import read_activations
from tests.support.chain import Chain


def test_filters_are_drawn_on_the_images_they_respond_to(transferred: Chain):
    (gallery,) = collect(transferred.engine).filters
    stored = read_activations(transferred.artifact("strongest"))
    assert (gallery.step, gallery.splits, gallery.left_out) == ("strongest", ("val",), 0)
    assert [row.filter for row in gallery.rows] == [3, 9]
    for drawn, wanted in zip(gallery.rows, stored, strict=True):
        assert [picture.key for picture in drawn.pictures] == [patch.key for patch in wanted.patches]
        assert all(picture.height <= 150 and picture.width <= 230 for picture in drawn.pictures)
    assert any(row.pictures for row in gallery.rows)
