from __future__ import annotations

import pytest

from pipelines.artifacts.detections import DetectionTable
from tests.support.stored_rows import table_of_rows
from tests.support.written_detections import ROWS


@pytest.fixture
def table() -> DetectionTable:
    return table_of_rows(ROWS)
