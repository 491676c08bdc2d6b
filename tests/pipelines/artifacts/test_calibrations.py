"""Calibrations: what is written is read, in the order that is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.artifacts.calibrations import UNIT, Calibration, CategoryCalibration
from pipelines.engine.codec import encode
from pipelines.engine.commits import Output
from pipelines.engine.workspace import Workspace
from sppnet.detection.calibration import LogOdds
from sppnet.errors import ArtifactError


def test_what_is_written_is_read(tmp_path: Path) -> None:
    artifact = Workspace.open(str(tmp_path)).artifact("calibration-0123")
    lines = {"cat": CategoryCalibration(2.5, -1.0, 40, 900, True), "dog": CategoryCalibration(1.5, -2.0, 3, 700, False)}
    written = Calibration(("svms-1", "regressors-1"), "held-out", lines)
    artifact.publish(UNIT, Output(encode(written), ".json", 2, 0), 0)
    found = Calibration.read(artifact)
    assert found == written
    assert found.lines(("dog", "cat")) == (LogOdds(1.5, -2.0), LogOdds(2.5, -1.0))


def test_what_is_none_is_refused(tmp_path: Path) -> None:
    artifact = Workspace.open(str(tmp_path)).artifact("calibration-0123")
    artifact.publish(
        UNIT, Output(b'{"detector":["a"],"split":"b","categories":{"cat":{"slope":"x"}}}', ".json", 1, 0), 0
    )
    with pytest.raises(ArtifactError, match=r"calibration-0123/calibration is corrupt: categories.cat.slope"):
        Calibration.read(artifact)
