"""COCO's instances files: what they say, and what is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.artifacts.annotations import ImageAnnotation
from pipelines.datasets.coco_json import CocoInstances
from pipelines.detecting.ground_truth import gather_truth
from sppnet.errors import ConfigError, DataError
from sppnet.evaluation.coco import FIGURES, evaluate_coco, mean_figures
from sppnet.evaluation.curves import Detections


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "it is a list"),
        ('[{"image_id": 1}]', "it is a list"),
        ("", "it is no object"),
        ('{"images": [{"file_name": "a.jpg", "id": 1}]', "Expecting|expected"),
        ('{"images": [], "categories": []}', "it has no images; its keys are: images, categories"),
        ('{"images": [{"file_name": "a.jpg", "id": 1}], "annotations": []}', "it has no categories"),
        ('{"images": [1,], "categories": []}', "expected ','"),
        ('{"images": ' + "[" * 100_000, "nested too deep"),
        ('{"images": [{"file_name": "a.jpg", "id": 1}], "categories": [{"id": 1}]}', "a category without a name"),
    ],
)
def test_what_is_no_instances_file(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"instances.json: .*({message})"):
        CocoInstances.parse(text.encode(), "instances.json")


def test_cocos_own_file_gives_pycocotools_figures(shared: Path) -> None:
    """From the instances file through the objects of a split to the twelve figures."""
    folder = shared / "data" / "fixtures" / "coco100"
    instances = CocoInstances.parse((folder / "gts.json").read_bytes(), "gts.json")
    notes = [
        ImageAnnotation(entry.key, 1, 1, tuple(instances.objects(entry.key)), index=entry.number)
        for entry in instances.images
    ]
    truth = gather_truth([entry.key for entry in reversed(instances.images)], notes)
    ranks = {entry.number: rank for rank, entry in enumerate(sorted(instances.images, key=lambda one: one.number))}
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in instances.categories}
    names = {number: name for name, number in instances.categories.items()}
    for row in json.loads((folder / "dets.json").read_text()):
        found[names[row["category_id"]]].append(row)
    results = []
    for name, rows in found.items():
        boxes = np.array([row["bbox"] for row in rows]).reshape(-1, 4) @ np.array(
            [[1, 0, 1, 0], [0, 1, 0, 1], [0, 0, 1, 0], [0, 0, 0, 1]]
        )
        images = np.array([ranks[row["image_id"]] for row in rows], np.int64)
        judged = Detections.of(images, boxes, [row["score"] for row in rows])
        results.append(evaluate_coco(truth.of(name).coco_objects(), judged))
    expected = json.loads((folder / "expected.json").read_text())
    assert mean_figures(results) == {name: pytest.approx(expected[name], abs=1e-6) for name in FIGURES}


odd = st.none() | st.booleans() | st.integers(-2, 3) | st.floats() | st.text(max_size=3) | st.just([]) | st.just({})
box = st.lists(odd | st.floats(0, 30), min_size=3, max_size=5) | odd
name = st.sampled_from(["a.jpg", "a.png", "x/b.jpg", "..", "../a.jpg", "/c.jpg", "\\d.jpg", ".jpg", "\ud800.jpg", "\0"])
number = st.sampled_from([1, 2, "1", 2.0]) | odd
image = st.fixed_dictionaries({"file_name": name | odd}, optional={"id": number, "width": odd, "height": odd}) | odd
annotation = (
    st.fixed_dictionaries(
        {"image_id": number, "bbox": box}, optional={"id": number, "category_id": number, "iscrowd": odd, "area": odd}
    )
    | odd
)
category = st.fixed_dictionaries({"id": number, "name": st.sampled_from(["cat", "dog"]) | odd})


@settings(max_examples=200)
@given(st.lists(image, max_size=5), st.lists(annotation, max_size=8), st.lists(category, max_size=2))
def test_any_entries_are_a_table_or_one_error(images: list[Any], annotations: list[Any], categories: list[Any]) -> None:
    """Every image is read, or set aside with a reason; what can't be used never takes the others down."""
    body = {"annotations": annotations, "images": images, "categories": [{"id": 9, "name": "cow"}, *categories]}
    told, done = "", 0
    try:
        found = CocoInstances.parse(json.dumps(body).encode(), "f.json")
    except ConfigError as error:
        told = str(error)
        assert told.startswith("f.json: ")
        return
    assert len({entry.key for entry in found.images}) == len(found.images)
    for entry in found.images:
        assert found.digest(entry.key) == found.digest(entry.key)
        try:
            found.image(entry.key)
        except DataError as error:
            told = error.reason
            continue
        done += len(found.objects(entry.key))
    assert done <= len(annotations)
