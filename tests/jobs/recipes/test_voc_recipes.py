"""Every built-in recipe can be read, and those of VOC07 are the paper's and the release's settings."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.recipes import find_recipe, recipe_names
from pipelines.engine.recipe import load_recipe
from pipelines.shards.categories import ALL_CATEGORIES
from sppnet.images.network_input import CAFFE_128
from sppnet.networks.backbones import BackboneSpec


def steps(name: str) -> dict[str, Any]:
    recipe = load_recipe(find_recipe(name))
    return {step: config.model_dump(mode="json") for step, config in recipe.steps.items()}


@pytest.mark.parametrize("name", recipe_names())
def test_it_can_be_read(name: str) -> None:
    assert load_recipe(find_recipe(name)).name == name


@pytest.mark.parametrize("name", ["voc07-paper", "voc07-release", "voc07-edge-boxes"])
def test_nothing_trains_on_the_test_set(name: str) -> None:
    found = steps(name)
    assert {found[step]["split"] for step in ("head", "svms", "regressors")} == {"trainval"}
    assert found["head"]["holdout"] > 0
    assert found["detections"]["splits"] == [found["metrics"]["split"]] == ["test"]
    for step in ("head", "svms", "regressors"):
        assert found[step]["categories"] == list(ALL_CATEGORIES)


def test_the_papers_settings() -> None:
    found = steps("voc07-paper")
    assert found["maps"]["scales"] == [480, 576, 688, 864, 1200]
    head, svms = found["head"], found["svms"]
    assert [(rate["lr"], rate["steps"]) for rate in head["schedule"]] == [(1e-4, 250_000), (1e-5, 50_000)]
    assert (head["positive_fraction"], head["positive_iou"], head["negative_iou"]) == (0.25, [0.5, 1.0], [0.1, 0.5])
    assert (svms["negative_iou"], svms["strict"], svms["dedupe"], svms["dedupe_iou"]) == (0.3, False, "overlap", 0.7)
    assert (svms["rounds"], svms["mean_norm"], svms["c"]) == (1, 20.0, 0.001)
    assert found["regressors"]["ridge"] == 1000.0


def test_both_methods_in_training_and_edge_boxes_in_testing() -> None:
    paper, found = steps("voc07-paper"), steps("voc07-edge-boxes")
    assert found["windows-train"]["methods"] == ["selective-search", "edge-boxes"]
    assert found["windows-test"]["methods"] == ["edge-boxes"]
    assert {found[step]["windows"] for step in ("head", "svms", "regressors")} == {"windows-train"}
    assert found["detections"]["windows"] == "windows-test"
    for step in ("head", "svms", "regressors", "detections", "backbone"):  # all else is as there
        assert {**found[step], "windows": "windows"} == {**paper[step], "windows": "windows"}
    plain = load_recipe(find_recipe("voc07-edge-boxes"), ["windows-test.edge_boxes.model=null"]).steps["windows-test"]
    assert plain.model_dump()["edge_boxes"]["model"] is None


def test_two_networks_are_calibrated_on_images_that_nothing_else_sees() -> None:
    found = steps("voc07-two-networks")
    assert list(found["images"]["dataset"]["into"]) == ["fit", "held-out"]
    for network in ("first", "second"):
        trained, scored, odds = (found[f"{step}-{network}"] for step in ("svms", "found", "odds"))
        assert trained["split"] == found[f"boxes-{network}"]["split"] == "fit"
        assert scored["splits"] == [odds["split"], found["metrics"]["split"]] == ["held-out", "val"]
        assert (odds["detections"], scored["svms"]) == (f"found-{network}", f"svms-{network}")
    assert found["by-scores"] == {**found["by-log-odds"], "calibrations": []}


def test_the_releases_settings() -> None:
    found = steps("voc07-release")
    assert found["maps"]["scales"] == [480, 576, 688, 874, 1200]
    head, svms = found["head"], found["svms"]
    assert [(rate["lr"], rate["steps"]) for rate in head["schedule"]] == [
        (1e-3, 30_000),
        (1e-4, 30_000),
        (1e-5, 140_000),
    ]
    assert (head["random_scale"], head["bias_rate"]) == (True, 2.0)
    assert {found[step]["convention"] for step in ("head", "svms", "regressors")} == {"released"}
    assert {found[step]["difficult"] for step in ("head", "svms", "regressors")} == {True}
    assert (svms["strict"], svms["dedupe"], svms["hard_threshold"], svms["evict_threshold"]) == (
        True, "response-box", -1.0001, -1.2,
    )  # fmt: skip
    assert (svms["solver"], svms["hard_per_image"], found["regressors"]["ridge"]) == ("liblinear", None, 4000.0)


def test_the_releases_network_gets_the_releases_pixels() -> None:
    backbone: Any = load_recipe(find_recipe("voc07-release")).steps["backbone"]
    assert backbone.spec() == BackboneSpec("zf5_released", preprocessing=CAFFE_128)


def test_crops_and_maps_differ_in_what_is_convolved_only() -> None:
    found = steps("claims-rcnn")
    for stage in ("head", "svms-pool5", "svms-fc7", "pool5", "fc7"):
        ways = [found[f"{stage}-{way}"] for way in ("1s", "5s", "wide", "rcnn")]
        own = {"maps", "scales", "head", "svms"}
        assert [{field: value for field, value in way.items() if field not in own} for way in ways] == [
            {field: value for field, value in ways[0].items() if field not in own}
        ] * 4
    assert {found[step]["maps"] for step in found if step.endswith("-rcnn")} == {"crops"}
    assert {found[step]["maps"] for step in found if step.endswith("-wide") and "maps" in found[step]} == {"maps-wide"}


def test_all_of_voc07_is_judged_on_images_that_nothing_trains_on() -> None:
    found = steps("voc07-full")
    assert {found[step]["split"] for step in ("head", "svms-pool5", "svms-fc7", "regressors")} == {"train"}
    assert found["metrics"]["split"] == "val"
    for step in ("head", "svms-pool5", "svms-fc7", "regressors"):
        assert found[step]["categories"] == list(ALL_CATEGORIES)


def test_the_claim_about_edge_boxes_has_the_papers_rows() -> None:
    found = steps("claims-edge-boxes")
    rows = {
        row: (found[found[row]["svms"]]["windows"], found[row]["windows"]) for row in found["metrics"]["detections"]
    }
    assert rows == {
        "train-ss-test-ss": ("ss", "ss"),
        "train-ss-test-eb": ("ss", "eb"),
        "train-eb-test-eb": ("eb", "eb"),
        "train-both-test-eb": ("both", "eb"),
    }
    methods = {step: found[step]["methods"] for step in ("ss", "eb", "both")}
    assert methods == {
        "ss": ["selective-search"],
        "eb": ["edge-boxes"],
        "both": ["selective-search", "edge-boxes"],
    }
    assert found["eb"]["edge_boxes"] == found["both"]["edge_boxes"]


def test_a_network_is_chosen_on_images_of_train_that_its_svms_have_not_seen() -> None:
    found = steps("voc07-networks")
    assert found["images"]["dataset"]["base"]["splits"] == ["train"]
    networks = [step for step, fields in found.items() if fields["stage"] == "weights"]
    assert len(networks) == 5
    for network in networks:
        assert found[f"maps-{network}"]["backbone"] == network
        assert found[f"svms-{network}"]["split"] == "fit"
        assert found[f"found-{network}"]["splits"] == [found["metrics"]["split"]] == ["choose"]
        for step in (f"svms-{network}", f"found-{network}"):
            assert found[step]["maps"] == f"maps-{network}"
    assert {step: fields["dilate"] for step, fields in found.items() if fields["stage"] == "weights"} == {
        "squeezenet": None, "mobilenet": None, "mobilenet-dilated": 2, "lite": None, "lite-dilated": 2,
    }  # fmt: skip
