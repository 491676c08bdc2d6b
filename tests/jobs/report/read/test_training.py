"""Training curves are read from a model's metadata."""

from __future__ import annotations

import json

import pytest

from jobs.report.read.training import read_curve
from sppnet.errors import ArtifactError


def test_curves_keep_numbers_and_tolerate_absence():
    points = [{"step": 1, "loss": 0.5, "note": "warm-up", "best": True}, {"step": 2, "lr": 1}]
    assert read_curve({"curve": json.dumps(points)}, "here") == ({"step": 1.0, "loss": 0.5}, {"step": 2.0, "lr": 1.0})
    assert read_curve({}, "here") == ()
    for text in ("{", "[1]", "3"):
        with pytest.raises(ArtifactError, match="here: its curve"):
            read_curve({"curve": text}, "here")
