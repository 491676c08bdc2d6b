from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines.artifacts.manifest import Manifest
from pipelines.outputs.ids import Numbers, category_numbers
from sppnet.errors import ConfigError
from tests.support.written_detections import NUMBERS


def test_numbers_from_lists_and_json(shared: Path) -> None:
    listed = Numbers.parse((shared / "data/ilsvrc_det/det_lists/val.txt").read_bytes(), "val.txt")
    assert len(listed.images) == 20121
    assert listed.of_image("ILSVRC2012_val_00000006") == 2
    coco = Numbers.parse((shared / "data/fixtures/coco100/gts.json").read_bytes(), "gts.json")
    assert len(coco.images) == 100
    assert coco.of_image("COCO_val2014_000000001146") == 1146
    assert coco.of_category("person") == 1


def test_numbers_that_are_none() -> None:
    for data, message in (
        (b"a 1\na 2\n", "'a' comes twice"),
        (b"a 1\nb 1\n", "'a' and 'b' both have the number 1"),
        (b"a\n", "neither JSON nor a list"),
        (b'{"images": {"a": 1.5}}', "no numbers"),
        (b'{"images": [{"file_name": "a.jpg"}]}', "no numbers"),
        (b"{", "no numbers"),
    ):
        with pytest.raises(ConfigError, match=message):
            Numbers.parse(data, "n")


def test_det_ids_are_the_data_sets_order() -> None:
    manifest = Manifest({}, ("n1", "n0", "n2"))
    assert category_numbers(manifest) == {"n1": 1, "n0": 2, "n2": 3}


def test_numbers_are_a_coco_data_set_without_annotations() -> None:
    body = json.loads(NUMBERS.to_json({"car": "motor car"}))
    assert body["images"] == [{"id": 7, "file_name": "a/1"}, {"id": 20121, "file_name": "b"}]
    assert body["categories"][:2] == [{"id": 37, "name": "car", "word": "motor car"}, {"id": 200, "name": "dog"}]
    assert Numbers.parse(NUMBERS.to_json({"car": "motor car"}), "n") == NUMBERS
    assert Numbers.parse(Numbers({"day%2E1/a%25": 1}, {}).to_json(), "n").images == {"day%2E1/a%25": 1}
    assert json.loads(Numbers({}, {}).to_json()) == {"images": [], "categories": []}
