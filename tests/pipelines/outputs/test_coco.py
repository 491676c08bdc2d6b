from __future__ import annotations

import json
from pathlib import Path

from pipelines.artifacts.detections import DetectionTable
from pipelines.outputs.coco import encode_coco, write_coco
from tests.support.output_readers import read_coco
from tests.support.written_detections import NUMBERS, close, halves


def test_coco_results(table: DetectionTable, tmp_path: Path) -> None:
    (path,) = write_coco(halves(table), NUMBERS, "val", tmp_path)
    found = json.loads(path.read_text())
    assert found[0] == {"image_id": 7, "category_id": 37, "bbox": [0, 0, 10, 20], "score": 0.5}
    assert all(list(entry) == ["image_id", "category_id", "bbox", "score"] for entry in found)
    close(read_coco(path.read_bytes(), NUMBERS), table)
    assert encode_coco(table, NUMBERS) == path.read_bytes()
    (empty,) = write_coco([], NUMBERS, "val", tmp_path)
    assert json.loads(empty.read_text()) == []
