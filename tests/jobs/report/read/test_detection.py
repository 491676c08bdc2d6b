"""Evaluations are read, and nothing else is taken for one; what a detector takes adds up."""

from __future__ import annotations

import pytest

from jobs.report.read.detection import read_evaluation
from sppnet.errors import ArtifactError
from tests.support.measured_detectors import detector_account


@pytest.mark.parametrize("data", [b"", b"[]", b'{"split": "val"}', b'{"split": "val", "rows": [{"name": "a"}]}'])
def test_something_else_is_no_evaluation(data: bytes):
    with pytest.raises(ArtifactError, match="metrics-1/metrics: not an evaluation"):
        read_evaluation(data, "evaluate", "metrics-1/metrics")


def test_totals():
    assert detector_account().total == 0.75
    assert detector_account(convolution=None).total is None
    assert detector_account(scoring=None).total is None
    assert detector_account(convolution=None, sources=("crops",)).total == 0.5
    assert detector_account(convolution=None, sources=("maps", "crops")).total is None
