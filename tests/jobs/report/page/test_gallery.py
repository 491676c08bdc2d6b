"""Detections that are drawn: those that were evaluated, failures by score, a lot that depends on the seed."""

from __future__ import annotations

import json

import pytest

from jobs.report.page.collect import collect
from jobs.report.page.gallery import Limits
from jobs.report.read.detection import read_evaluation
from pipelines.engine.runner import Engine
from sppnet.evaluation.error_kinds import ERRORS
from tests.support.small_page import CAT, KEYS, SIZE


def test_the_gallery_shows_what_was_evaluated(engine: Engine):
    gallery = collect(engine).gallery
    assert (gallery.detector, gallery.split, gallery.images_seen, gallery.images_total) == ("pool5+bb", "val", 7, 7)
    assert {shot.key for shot in gallery.shots} == set(KEYS)
    assert all(shot.by_lot for shot in gallery.shots)
    for shot in gallery.shots:
        assert (shot.count("right"), shot.count(*ERRORS), shot.count("missed")) == (1, 0, 1)
        (cat,) = [mark for mark in shot.marks if mark.what == "right"]
        factor = shot.height / SIZE[1]
        assert cat.box == pytest.approx([value * factor for value in CAT], abs=0.06)
        assert (cat.category, cat.score) == (0, 2.0)
    assert gallery.failures == ()
    assert gallery.left_out == 0


def test_each_category_has_its_best_and_its_worst_images(engine: Engine):
    gallery = collect(engine, Limits(pictures=1, each=2)).gallery
    roles = {(role, gallery.categories[number]) for shot in gallery.shots for role, number in shot.roles}
    assert roles == {("best", "cat"), ("worst", "dog")}  # cats are all found, dogs are all missed
    assert sum(("best", 0) in shot.roles for shot in gallery.shots) == 2
    assert sum(shot.by_lot for shot in gallery.shots) == 1


def test_pictures_end_where_the_page_is_full(engine: Engine):
    gallery = collect(engine, Limits(octets=1)).gallery
    assert (len(gallery.shots), gallery.left_out) == (1, 5)


def lowered(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the gallery see all detections: the operating score of a perfect detector hides its errors."""
    original = read_evaluation

    def low(data: bytes, step: str, where: str):
        body = json.loads(data)
        for row in body["rows"]:
            row["categories"]["cat"]["operating_score"] = 0.5
        return original(json.dumps(body).encode(), step, where)

    monkeypatch.setattr("jobs.report.page.collect.read_evaluation", low)


def test_failures_come_by_score_and_duplicates_are_suppressed_first(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    lowered(engine, monkeypatch)
    report = collect(engine, limits=Limits(pictures=2, examples=0, failures=2))
    assert len(report.gallery.shots) == 2
    assert [(f.key, f.kind, f.truth) for f in report.gallery.failures] == [
        ("img4", "classification", "dog"),
        ("img2", "classification", "dog"),
    ]
    assert report.gallery.failures[0].score == pytest.approx(1.04)
    assert dict(zip(ERRORS, report.counts.rows[0].errors, strict=True)) == {
        **dict.fromkeys(ERRORS, 0),
        "classification": 3,
    }


def test_the_lot_depends_on_the_seed_alone_and_grows(engine: Engine):
    few = [shot.key for shot in collect(engine, Limits(pictures=2, examples=0)).gallery.shots]
    more = [shot.key for shot in collect(engine, Limits(pictures=4, examples=0)).gallery.shots]
    assert more[:2] == few


def test_of_many_shards_only_some_are_read(engine: Engine):
    gallery = collect(engine, limits=Limits(shards=1)).gallery
    assert gallery.images_seen in {4, 3}
    assert gallery.images_total == 7
