from __future__ import annotations

import pytest

from pipelines.artifacts.detections import DetectionTable
from tests.support.written_detections import ROWS


@pytest.fixture
def table() -> DetectionTable:
    return DetectionTable.of_rows(ROWS)
