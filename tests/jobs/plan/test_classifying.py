"""Costs of the stages that classify whole images, from their configs."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.plan.costs import StepCost
from jobs.recipes import find_recipe
from pipelines.engine.recipe import Recipe, load_recipe
from sppnet.networks.costs import head_macs, map_cost
from sppnet.sizes import Size
from tests.support.plans import RATES, steps, written

IMAGES = 1000
IMAGE = Size(500, 375)


def recipe(name: str) -> Recipe:
    return load_recipe(find_recipe(name), ())


def changed(tmp_path: Path, name: str, step: str, **fields: object) -> dict[str, StepCost]:
    return steps(written(tmp_path, name, {step: fields}), all=IMAGES, train=IMAGES, val=IMAGES)


def test_views_are_convolved_once_however_many_sets_share_them(tmp_path: Path) -> None:
    spec = recipe("caltech101").steps["network"].spec()  # type: ignore[attr-defined]
    crop, full = map_cost(spec, Size.square(224)).macs, map_cost(spec, IMAGE, 224).macs

    def macs(*views: str) -> float:
        return changed(tmp_path, "caltech101", "pool5", views=list(views))["pool5"].macs / IMAGES

    assert macs("crop-224") == crop
    assert macs("full-224") == full
    assert macs("crop-224", "full-224") == crop + full
    assert macs("crops10") == 10 * crop
    maps10 = 2 * map_cost(spec, IMAGE, 256).macs  # as it is and mirrored
    assert macs("maps10") == maps10
    assert macs("maps10", "full") == maps10  # the whole image is one of those planes
    assert macs("crops10", "maps10") == 10 * crop + maps10


def test_fully_connected_layers_see_every_view(tmp_path: Path) -> None:
    claims = recipe("claims-classification")
    found = steps(claims, train=2600, val=500)
    crop = map_cost(claims.steps["none-single-1"].spec(), Size.square(224)).macs  # type: ignore[attr-defined]
    assert found["views-none-single-1"].images == 500
    assert found["views-none-single-1"].macs == 500 * 10 * (crop + head_macs((6 * 6 * 32, 256, 256, 1000)))
    assert found["views-none-single-1"].written == 500 * 2 * 1000 * 4  # two sets of scores, float32
    step = {"stage": "classify", "images": "images", "network": "none-single", "output": "fc6", "dtype": "float16"}
    more = written(tmp_path, "claims-classification", {"fc6": {**step, "views": ["crop", "crops10"]}})
    fc6 = steps(more, train=2600, val=500)["fc6-1"]
    assert fc6.macs == 500 * 10 * (crop + 6 * 6 * 32 * 256)
    assert fc6.written == pytest.approx(500 * 2 * 256 * 2 * RATES.fc_compression)


def test_features_of_whole_images_are_stored_packed(tmp_path: Path) -> None:
    found = changed(tmp_path, "caltech101", "pool5")["pool5"]
    assert found.written == pytest.approx(IMAGES * 2 * 25_600 * 2 * RATES.view_compression)
    coarse = changed(tmp_path, "caltech101", "pool5", levels=[1], dtype="float32")["pool5"]
    assert coarse.written == pytest.approx(IMAGES * 2 * 512 * 4 * RATES.view_compression)


def test_an_svm_for_every_category_of_voc(tmp_path: Path) -> None:
    def transfer(**protocol: object) -> StepCost:
        kind = {"kind": "voc07", "train": ["train"], "test": "val", **protocol}
        return changed(tmp_path, "voc07-classification", "transfer", protocol=kind)["transfer"]

    two, all_of_them = transfer(categories=["bus", "car"]), transfer(categories=None)
    solved = 7 * IMAGES * 25_600 * RATES.passes / RATES.solving
    assert two.parts["solving"] == pytest.approx(2 * solved)
    assert all_of_them.parts["solving"] == pytest.approx(20 * solved)
    assert two.macs == 7 * 2 * IMAGES * 25_600
    assert two.images == 2 * IMAGES
    assert two.units == 2 * 32 + 7 * 2 + 1
    assert two.memory == 8 * 2 * IMAGES * 25_600


def test_caltechs_svms_are_solved_in_the_span_of_the_training_images(tmp_path: Path) -> None:
    def transfer(**protocol: object) -> StepCost:
        kind = {"kind": "caltech101", "split": "all", **protocol}
        return changed(tmp_path, "caltech101", "transfer", protocol=kind)["transfer"]

    found = transfer(repeats=3)
    trained, classes = 12 * 30, 12  # nobody knows the classes: as many as the images are enough for
    assert found.parts["solving"] == pytest.approx(2 * 3 * classes * trained**2 * RATES.passes / RATES.solving)
    assert found.parts["gram"] == pytest.approx(2 * 3 * (trained**2 * 25_600 + 4 * trained**3) / RATES.gram)
    assert found.units == 32 + 2 * 3 + 1
    twice = transfer(repeats=6)
    assert twice.parts["gram"] == pytest.approx(2 * found.parts["gram"])
    assert twice.parts["examples"] == found.parts["examples"], "features are read once"


def test_there_is_no_smaller_space_where_vectors_are_short(tmp_path: Path) -> None:
    step = {"stage": "classify", "images": "images", "network": "network", "splits": ["all"], "output": "pool5"}
    coarse = {"pool5": {**step, "levels": [1], "views": ["full"]}}  # 512 values, and 360 images to train on
    found = steps(written(tmp_path, "caltech101", coarse), all=IMAGES)["transfer"]
    assert "gram" not in found.parts
    assert found.parts["solving"] == pytest.approx(10 * 12 * 360 * 512 * RATES.passes / RATES.solving)


def test_classes_of_a_data_set_that_is_there_are_counted(tmp_path: Path) -> None:
    for name in ("ant", "bee", "cat"):
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "1.jpg").write_bytes(b"")
    protocol = {"kind": "caltech101", "split": "all", "repeats": 1, "train_per_class": 10}
    dataset = {"kind": "folders", "root": str(tmp_path / "data"), "flat": True, "splits": ["all"]}
    there = written(tmp_path, "caltech101", {"images": {"dataset": dataset}, "transfer": {"protocol": protocol}})
    found = steps(there, all=IMAGES)["transfer"]
    assert found.parts["solving"] == pytest.approx(2 * 3 * 30**2 * RATES.passes / RATES.solving)


def test_what_else_looks_at_images_once(tmp_path: Path) -> None:
    voc = steps(recipe("voc07-classification"), train=IMAGES, val=IMAGES)
    maps = map_cost(recipe("voc07-classification").steps["network"].spec(), IMAGE, 392)  # type: ignore[attr-defined]
    assert voc["strongest"].read == IMAGES * maps.bytes
    assert voc["strongest"].units == 32 + 1
    claims = steps(recipe("claims-classification"), train=2600, val=500)
    sets = 3 * (2 + 4 * 6)
    assert claims["metrics"].parts["judged"] == pytest.approx(500 * sets / RATES.judged)
    more = {"pixels": {"stage": "statistics", "images": "images", "split": "train", "short_side": 256}}
    statistics = steps(written(tmp_path, "caltech101", more), all=IMAGES, train=IMAGES)["pixels"]
    assert statistics.units == 32 + 1
    assert statistics.parts["resize"] == pytest.approx(IMAGES * 341 * 256 / RATES.resize)
    given = {
        "given": {"stage": "import-windows", "images": "images", "paths": ["w.mat"], "convention": "yxyx-1-inclusive"}
    }
    imported = steps(written(tmp_path, "voc07", given), train=300, val=200)["given"]
    assert imported.written == pytest.approx(500 * 2000 * RATES.window_bytes)
