"""Detectors' accounts, from a recipe and from commits of known seconds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jobs.report.read.detection import DetectorScore, Evaluation
from jobs.report.read.detectors import DetectorReader
from jobs.report.tables.detectors import detector_table
from tests.support.chain import Chain


def test_a_row_of_another_recipe_has_no_account(measured: Chain):
    reader = DetectorReader(measured.engine, [])
    row = DetectorScore("pool5", measured.artifact("pool5").name, False, 0.5, 0.5, {})
    assert reader.account(row, "val").scoring == pytest.approx(0.1)
    assert reader.account(row, "test").scoring is None
    assert reader.account(replace(row, detections="detections-0"), "val") is None
    assert reader.account(replace(row, name="unknown"), "val") is None
    assert detector_table(Evaluation("metrics", "val", (row,))) is None
