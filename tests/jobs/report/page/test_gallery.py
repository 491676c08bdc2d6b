"""Detections that are drawn: those that were evaluated, failures by score, a lot that depends on the seed."""

from __future__ import annotations

import json

import pytest

from jobs.report.page.collect import collect
from jobs.report.page.gallery import Limits
from jobs.report.read.detection import read_evaluation
from pipelines.engine.runner import Engine
from tests.support.small_page import KEYS


def test_the_gallery_shows_what_was_evaluated(engine: Engine):
    gallery = collect(engine).gallery
    assert (gallery.detector, gallery.split, gallery.images_seen, gallery.images_total) == ("pool5+bb", "val", 6, 7)
    assert {picture.key for picture in gallery.pictures} == set(KEYS)
    assert all((p.right, p.wrong, p.missed) == (1, 0, 1) for p in gallery.pictures)
    assert gallery.tallies["cat"].right == 6
    assert gallery.tallies["dog"].missed == 6
    assert gallery.failures == ()


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
    gallery = collect(engine, limits=Limits(pictures=2, failures=2)).gallery
    assert len(gallery.pictures) == 2
    assert [(f.key, f.kind, f.truth) for f in gallery.failures] == [
        ("img4", "confusion", "dog"),
        ("img2", "confusion", "dog"),
    ]
    assert gallery.failures[0].score == pytest.approx(1.04)
    assert gallery.tallies["cat"].errors == {"localisation": 0, "duplicate": 0, "confusion": 3, "background": 0}


def test_the_lot_depends_on_the_seed_alone_and_grows(engine: Engine):
    few = [picture.key for picture in collect(engine, limits=Limits(pictures=2)).gallery.pictures]
    more = [picture.key for picture in collect(engine, limits=Limits(pictures=4)).gallery.pictures]
    assert more[:2] == few


def test_of_many_shards_only_some_are_read(engine: Engine):
    gallery = collect(engine, limits=Limits(shards=1)).gallery
    assert gallery.images_seen in {4, 2}
    assert gallery.images_total == 7
