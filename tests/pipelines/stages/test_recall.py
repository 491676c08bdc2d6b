"""recall: the figures are those of looking at every object and window, whatever the shards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.artifacts.windows_and_maps import decode_windows
from pipelines.engine.recipe import parse_recipe
from sppnet.boxes import iou_matrix
from sppnet.errors import ConfigError
from sppnet.evaluation.recall import IOUS
from tests.support.chain import Chain
from tests.support.proposing import PROPOSE, make_proposals

COUNTS = (5, 20, 1000)
RECALL = {"stage": "recall", "images": "images", "windows": ["searched", "edges"], "counts": list(COUNTS)}


def mark_difficult(data: Path, split: str) -> int:
    """Makes the first object of every second image difficult. Returns how many that are."""
    keys = (data / "ImageSets" / "Main" / f"{split}.txt").read_text().split()[::2]
    marked = 0
    for key in keys:
        path = data / "Annotations" / f"{key}.xml"
        text = path.read_text()
        path.write_text(text.replace("<difficult>0<", "<difficult>1<", 1))
        marked += path.read_text() != text
    return marked


@pytest.fixture(scope="module")
def recalled(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Chain:
    """Recall of two steps' windows on both splits: read it, don't change it."""
    made = make_proposals(
        tmp_path_factory.mktemp("recall"),
        drawn,
        searched={**PROPOSE, "max_windows": 40},
        edges={**PROPOSE, "methods": ["edge-boxes"], "max_windows": 40},
        recall=RECALL,
        training={**RECALL, "split": "train"},
    )
    assert mark_difficult(made.data, "val") >= 2
    made = Chain(made.data, made.steps, made.root)  # the annotations are others
    made.run()
    return made


def result(chain: Chain, step: str = "recall") -> dict[str, Any]:
    body: dict[str, Any] = json.loads(chain.artifact(step).read("recall"))
    return body


def looked_at(chain: Chain, step: str, split: str) -> list[tuple[str, list[float]]]:
    """Category and best IoU at each count of every object that is not difficult."""
    found = []
    for unit in chain.shards(split):
        windows = {row.key: row.windows for row in decode_windows(chain.artifact(step).read(unit), unit)}
        for key, annotation in chain.annotations(unit).items():
            own = windows.get(key, np.zeros((0, 4)))
            for thing in annotation.objects:
                if not thing.difficult:
                    best = [max(iou_matrix([thing.box], own[:n])[0], default=0.0) for n in (*COUNTS, None)]
                    found.append((thing.category, best))
    return found


@pytest.mark.parametrize(("step", "split"), [("recall", "val"), ("training", "train")])
def test_recall_is_that_of_looking_at_every_object(recalled: Chain, step: str, split: str) -> None:
    body = result(recalled, step)
    assert body["split"] == split
    assert body["ious"] == list(IOUS)
    assert [row["name"] for row in body["rows"]] == ["searched", "edges"]
    for row in body["rows"]:
        objects = looked_at(recalled, row["name"], split)
        assert row["objects"] == len(objects) > 5
        assert row["windows"] == recalled.artifact(row["name"]).name
        groups = {None: objects} | {
            category: [entry for entry in objects if entry[0] == category] for category in {c for c, _ in objects}
        }
        assert set(row["categories"]) == set(groups) - {None}
        for category, entries in groups.items():
            curves = row["curves"] if category is None else row["categories"][category]["curves"]
            best = np.array([values for _, values in entries])
            assert [curve["windows"] for curve in curves] == [*COUNTS, None]
            for place, curve in enumerate(curves):
                expected = [(best[:, place] >= iou).mean() for iou in IOUS]
                assert curve["recall"] == pytest.approx(expected, abs=1e-6)
                average = 2 * np.maximum(best[:, place] - 0.5, 0).mean()
                assert curve["average_recall"] == pytest.approx(average, abs=1e-6)


def test_difficult_objects_are_counted_apart(recalled: Chain) -> None:
    body = result(recalled)
    objects = difficult = 0
    for unit in recalled.shards("val"):
        for annotation in recalled.annotations(unit).values():
            objects += len(annotation.objects)
            difficult += sum(thing.difficult for thing in annotation.objects)
    assert body["difficult"] == difficult >= 2
    assert body["rows"][0]["objects"] == objects - difficult


def test_images_without_windows_are_counted(recalled: Chain) -> None:
    searched, edges = result(recalled, "training")["rows"]
    images = result(recalled, "training")["images"]
    assert images == 14  # 12 drawn, thin and plain; broken is none
    assert searched["images_with_windows"] == 13
    assert edges["images_with_windows"] == 12
    assert 0 < edges["windows_per_image"] <= 40


def test_curves_never_fall_with_windows_nor_rise_with_iou(recalled: Chain) -> None:
    for row in result(recalled)["rows"]:
        recall = np.array([curve["recall"] for curve in row["curves"]])
        assert (np.diff(recall, axis=0) >= 0).all()
        assert (np.diff(recall, axis=1) <= 0).all()
        assert recall[-1, 0] > 0.5


def test_shards_do_not_matter(recalled: Chain, tmp_path: Path) -> None:
    """The windows don't depend on the shards, and the sums are added exactly enough for every figure to agree."""
    steps = {
        "images": {**recalled.steps["images"], "shard_size": 2},
        "edges": {**recalled.steps["edges"], "splits": ["val"]},
        "recall": {**RECALL, "windows": ["edges"]},
    }
    other = Chain(recalled.data, steps, tmp_path / "ws")
    other.run()
    assert len(other.units("recall")) == 4
    row, before = result(other)["rows"][0], result(recalled)["rows"][1]
    assert {k: v for k, v in row.items() if k != "windows"} == {k: v for k, v in before.items() if k != "windows"}


def test_an_image_whose_objects_are_lost_has_recall_0(recalled: Chain, tmp_path: Path) -> None:
    """Windows that find nothing: every object is missed, none is left out."""
    (tmp_path / "w.json").write_text("{}")
    step = {"stage": "import-windows", "images": "images", "paths": [str(tmp_path / "w.json")], "max_quarantined": 1}
    steps = {
        "images": recalled.steps["images"],
        "none": {**step, "convention": "xyxy-0-half-open"},
        "recall": {**RECALL, "windows": ["none"]},
    }
    empty = Chain(recalled.data, steps, tmp_path / "ws")
    empty.run()
    (row,) = result(empty)["rows"]
    assert row["objects"] == result(recalled)["rows"][0]["objects"]
    assert (row["images_with_windows"], row["windows_per_image"]) == (0, None)
    assert all(curve["recall"] == [0.0] * len(IOUS) for curve in row["curves"])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"split": "test"}, r"steps.recall.split: split test is not among"),
        ({"windows": []}, r"steps.recall.windows: "),
        ({"windows": ["images"]}, r"steps.recall.windows: step 'images' makes images, expected windows"),
        ({"ious": [0]}, r"steps.recall.ious.0: "),
        ({"counts": [0]}, r"steps.recall.counts.0: "),
    ],
)
def test_wrong_fields_are_refused(recalled: Chain, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        recalled.changed(recall=fields)


def test_windows_of_other_images_are_refused(recalled: Chain) -> None:
    steps = {
        **recalled.steps,
        "others": recalled.steps["images"],
        "edges": {**recalled.steps["edges"], "images": "others"},
    }
    with pytest.raises(
        ConfigError,
        match=r"recall.windows: 'edges' is made from .* 'others', not from those of 'images'",
    ):
        parse_recipe({"version": 1, "name": "x", "steps": steps}, "x")


def test_training_and_testing_may_take_different_windows() -> None:
    """Section 4.4's comparison: trained on selective search and EdgeBoxes, tested on EdgeBoxes alone."""
    read = {"images": "images", "maps": "maps"}
    trained = {**read, "windows": "both", "categories": ["car"], "scales": [688]}
    steps = {
        "images": {"stage": "ingest", "dataset": {"root": "data"}},
        "both": {**PROPOSE, "methods": ["selective-search", "edge-boxes"], "splits": ["train"]},
        "edges": {**PROPOSE, "methods": ["edge-boxes"], "splits": ["val"]},
        "network": {"stage": "weights", "path": "w.safetensors", "architecture": "zf5"},
        "maps": {"stage": "extract", "images": "images", "backbone": "network", "scales": [688]},
        "svms": {"stage": "train-svms", **trained},
        "regressors": {"stage": "train-regressors", **trained},
        "found": {"stage": "score", **read, "windows": "edges", "svms": "svms", "regressors": "regressors"},
        "metrics": {"stage": "evaluate", "images": "images", "detections": ["found"]},
    }
    assert len(parse_recipe({"version": 1, "name": "x", "steps": steps}, "x").steps) == len(steps)
    steps["found"]["windows"] = "both"
    with pytest.raises(ConfigError, match=r"steps.found.windows: split val is not among those of its input: train"):
        parse_recipe({"version": 1, "name": "x", "steps": steps}, "x")
