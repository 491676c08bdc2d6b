"""Detections of a run in the formats of other programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines.outputs.ids import Numbers
from tests.support.chain import CATEGORIES, Chain
from tests.support.scored_runs import export, stored, val_keys


def test_export_formats(chain: Chain, run: Path, tmp_path: Path) -> None:
    keys = val_keys(chain)
    (tmp_path / "val.txt").write_text("".join(f"{key} {number}\n" for number, key in enumerate(keys, 100)))
    det = export(run, "plain", tmp_path, "--format", "det", "--numbers", str(tmp_path / "val.txt"))
    assert det.code == 0, det.lines
    lines = (tmp_path / "det_submission_val.txt").read_text().splitlines()
    assert len(lines) == det.json["detections"] == len(stored(chain, "plain"))
    assert {line.split()[0] for line in lines} <= {str(number) for number in range(100, 106)}
    coco = export(run, "full", tmp_path, "--format", "coco", "--top-per-set", "1/image", "--threshold", "-1.2")
    found = json.loads((tmp_path / "coco_val.json").read_text())
    assert len(found) == coco.json["detections"] <= 6 * len(CATEGORIES)
    numbers = Numbers.parse((tmp_path / "coco_val_numbers.json").read_bytes(), "n")
    assert [numbers.of_image(key) for key in keys] == [1, 2, 3, 4, 5, 6]
    assert {entry["category_id"] for entry in found} <= set(numbers.categories.values())
    assert all(entry["score"] > -1.2 for entry in found)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("plain", "--format", "xml"),
            "'xml' is not one of coco, voc, det, parquet, csv, yolo, yolo-labels, fiftyone, huggingface",
        ),
        (("plain", "--boxes", "all"), "boxes: 'all' is not one of windows, regressed, best"),
        (("plain", "--top-per-set", "many"), "neither a number such as 30000"),
        (("plain", "--split", "train"), "split: step 'plain' scores val, not train"),
        (("svms",), "step 'svms' makes no detections; these do: plain, full, both, unmade"),
        (("plain", "--format", "det"), "have no numbers; name the list that has them with --numbers"),
        (("plain", "--numbers", "/nowhere.txt"), "numbers: /nowhere.txt can't be read"),
        (("unmade",), "split val: 2 of 2 shards have no detections"),
    ],
)
def test_exports_that_are_refused(run: Path, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    outcome = export(run, arguments[0], tmp_path, *arguments[1:])
    assert outcome.code == 2
    assert message in outcome.json["error"]
    assert list(tmp_path.iterdir()) == []
