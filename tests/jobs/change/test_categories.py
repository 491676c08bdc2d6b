"""`sppnet add-category` and `remove-category`: the new category is detected, the others stay what they were."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from jobs.change.categories import Table, add_category, recipe_text, remove_category
from pipelines.artifacts.detections import DetectionRow, decode_detections
from pipelines.engine.recipe import load_recipe, parse_recipe
from sppnet.errors import ConfigError
from tests.support.chain import CATEGORIES, Chain
from tests.support.in_process import Outcome, sppnet
from tests.support.scored_runs import val_keys


@pytest.fixture
def table(chain: Chain, tmp_path: Path) -> Path:
    """The butterflies of the training images under another name, in pixels."""
    file = tmp_path / "moths.csv"
    with file.open("w", newline="") as sink:
        rows = csv.writer(sink)
        rows.writerow(["name", "LabelName", "XMin", "YMin", "XMax", "YMax"])
        for unit in chain.shards("train"):
            for key, annotation in chain.annotations(unit).items():
                rows.writerows(
                    [key, "moth", *thing.box] for thing in annotation.objects if thing.category == "butterfly"
                )
    return file


def add(run: Path, name: str, out: Path, *more: str | Path, recipe: Path | None = None) -> Outcome:
    common = ("--detector", "full", "--out", out, "--workspace", run / "workspace", "--local")
    return sppnet("add-category", recipe or run / "recipe.yaml", name, *common, *more)


def made(run: Path) -> set[str]:
    return {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file() and "runs" not in path.parts}


def scored(run: Path, recipe: Path, images: Path, out: Path) -> list[DetectionRow]:
    common = ("--recipe", recipe, "--workspace", run / "workspace", "--local", "--detector", "full")
    outcome = sppnet("score", images, "--out", out, *common)
    assert outcome.code == 0, outcome.lines
    return [row for path in sorted((out / "all").iterdir()) for row in decode_detections(path.read_bytes(), "x")]


def of(rows: list[DetectionRow], *names: str) -> list[tuple[Any, ...]]:
    return sorted((row.key, row.category, row.score, row.box, row.regressed) for row in rows if row.category in names)


def numbers(rows: list[DetectionRow]) -> np.ndarray:
    """Scores and boxes of the old categories: the same up to how a library adds up products of more columns."""
    return np.array([[row[2], *row[3], *row[4]] for row in of(rows, *CATEGORIES)])


def test_a_category_from_a_table_is_in_the_next_score(chain: Chain, run: Path, table: Path, tmp_path: Path) -> None:
    before, out = made(run), tmp_path / "with-moths.yaml"
    outcome = add(run, "moth", out, "--annotations", table, "--column", "image=name")
    assert outcome.code == 0, outcome.lines
    assert outcome.json["trained"] == ["svms-moth", "regressors-moth"]
    new = {path.split("/")[1] for path in made(run) - before}
    # Nothing of images, windows, maps or networks: an SVM, a regressor, and annotations.
    assert {name.rsplit("-", 1)[0] for name in new} == {"svms", "regressors", "images", "looks", "manifests"}
    units = {path for path in made(run) - before if path.split("/")[1].startswith("images-")}
    assert {path for path in units if not {"annotations", "_summaries"} & {*path.split("/")}} == set()
    recipe = load_recipe(out)
    assert recipe.steps["full"].references()["svms"] == ("svms", "svms-moth")
    images = tmp_path / "images"
    images.mkdir()
    for key in val_keys(chain)[:3]:
        shutil.copy(chain.data / "JPEGImages" / f"{key}.jpg", images)
    old = scored(run, run / "recipe.yaml", images, tmp_path / "old")
    now = scored(run, out, images, tmp_path / "now")
    assert [row[:2] for row in of(now, *CATEGORIES)] == [row[:2] for row in of(old, *CATEGORIES)]
    assert np.allclose(numbers(now), numbers(old), atol=1e-4)
    assert of(now, "moth")
    assert all(row[4] is not None for row in of(now, "moth"))
    info = json.loads((tmp_path / "now/output.json").read_text())
    assert info["categories"] == [*CATEGORIES, "moth"]
    assert info["numbers"]["moth"] == 1 + max(number for name, number in info["numbers"].items() if name != "moth")
    again = add(run, "moth", out, "--annotations", table, "--column", "image=name")
    assert again.code == 0, again.lines
    assert not any("units to make" in line for line in again.lines)


def test_a_category_that_the_data_set_has_already(run: Path, tmp_path: Path) -> None:
    outcome = add(run, "fish", tmp_path / "a.yaml")
    assert outcome.code == 0, outcome.lines
    steps = yaml.safe_load((tmp_path / "a.yaml").read_text())["steps"]
    assert steps["svms-fish"]["images"] == "images"
    twice = add(run, "butterfly", tmp_path / "b.yaml", recipe=tmp_path / "a.yaml")
    assert twice.code == 0, twice.lines
    assert load_recipe(tmp_path / "b.yaml").steps["full"].references()["regressors"] == (
        "regressors",
        "regressors-fish",
        "regressors-butterfly",
    )


def test_what_can_not_be_added(chain: Chain, run: Path, table: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.yaml"
    for name, more, message in (
        ("car", (), "has category 'car' already"),
        ("zebra", (), "zebra"),
        ("wasp", ("--annotations", table, "--column", "image=name"), "has no box of 'wasp'; its categories: moth"),
        ("moth", ("--annotations", table), "no column 'ImageID'"),
        ("moth", ("--annotations", tmp_path / "none.csv"), "can't be read"),
        ("moth", ("--annotations", table, "--column", "name"), "--column name: expected image=NAME"),
        ("moth", ("--annotations", table, "--unit", "feet"), "unit"),
    ):
        outcome = add(run, name, out, *more)
        assert outcome.code == 2, (name, more)
        assert message in outcome.json["error"]
    assert not out.exists()
    (tmp_path / "empty").mkdir()
    shutil.copy(run / "recipe.yaml", tmp_path / "empty")
    untrained = add(tmp_path / "empty", "fish", out)
    assert untrained.code == 2


def test_a_category_is_left_out(run: Path, chain: Chain, tmp_path: Path) -> None:
    out, where = tmp_path / "without.yaml", ("--workspace", run / "workspace")
    outcome = sppnet("remove-category", run / "recipe.yaml", "car", "--detector", "full", "--out", out, *where)
    assert outcome.code == 0, outcome.lines
    images = tmp_path / "images"
    images.mkdir()
    shutil.copy(chain.data / "JPEGImages" / f"{val_keys(chain)[0]}.jpg", images)
    now = scored(run, out, images, tmp_path / "now")
    old = scored(run, run / "recipe.yaml", images, tmp_path / "old")
    left = [name for name in CATEGORIES if name != "car"]
    assert of(now, *CATEGORIES) == of(old, *left)
    again = sppnet("remove-category", run / "recipe.yaml", "house", "--detector", "full", "--out", out, *where)
    assert "is there already and says something else" in again.json["error"]


def test_an_evaluation_stays_with_its_detector_alone(chain: Chain) -> None:
    base = parse_recipe({"version": 1, "name": "chain", "steps": chain.steps}, "chain")
    added = add_category(base, "moth", "full", Table("moths.csv", "pixel", {}))
    metrics = added.recipe.steps["metrics"]
    assert metrics.references() == {"images": ("images-moth",), "detections": ("full",)}
    assert "plain" not in added.recipe.steps
    assert parse_recipe(yaml.safe_load(recipe_text(added.recipe)), "x").steps == added.recipe.steps


def test_a_detector_of_one_category_keeps_it(chain: Chain) -> None:
    base = parse_recipe({"version": 1, "name": "chain", "steps": chain.steps}, "chain")
    one = replace(base, steps={**base.steps, "full": base.steps["full"].model_copy(update={"categories": ("car",)})})
    with pytest.raises(ConfigError, match="'car' can't be removed"):
        remove_category(one, "car", "full")
    with pytest.raises(ConfigError, match="has bottle, car, house: 'cow' can't be removed"):
        remove_category(base, "cow", "full")
