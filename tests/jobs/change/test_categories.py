"""`sppnet add-category`, `remove-category`, `rename-category`: what is asked for is detected, the others stay."""

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

import sppnet as sppnet_package
from jobs.change.categories import Table, add_category, recipe_text, remove_category, rename_category
from pipelines.artifacts.detections import (
    DetectionRow,
    decode_detection_table,
    decode_detections,
    encode_detection_table,
)
from pipelines.engine.recipe import load_recipe, parse_recipe
from pipelines.engine.runner import Engine
from pipelines.engine.workspace import Artifact, Workspace
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


def rename(run: Path, old: str, new: str, out: Path, recipe: Path | None = None) -> Outcome:
    common = ("--detector", "full", "--out", out, "--workspace", run / "workspace")
    return sppnet("rename-category", recipe or run / "recipe.yaml", old, new, *common)


def test_a_category_is_called_otherwise_and_nothing_is_scored_again(run: Path, chain: Chain, tmp_path: Path) -> None:
    out, where = tmp_path / "auto.yaml", ("--workspace", run / "workspace")
    outcome = rename(run, "car", "auto mobile", out)
    assert outcome.code == 0, outcome.lines
    assert load_recipe(out).steps["full"].model_dump()["renamed"] == {"car": "auto mobile"}
    before = made(run)
    ended = sppnet("run", out, *where, "--local")
    assert ended.code == 0, ended.lines
    new = made(run) - before
    assert {path.split("/")[1].rsplit("-", 1)[0] for path in new} == {"detections", "metrics"}
    engine = Engine(load_recipe(out), Workspace.open(str(run / "workspace")))
    made_by = {step.name: Artifact(engine.workspace.store, step.spec.artifact) for step in engine.steps}
    for unit in chain.shards("val"):
        as_before, now = chain.artifact("full").commit(unit), made_by["full"].commit(unit)
        assert now.metrics == as_before.metrics  # with the seconds of the scoring itself
        table = decode_detection_table(chain.artifact("full").read(unit), unit)
        names = tuple({"car": "auto mobile"}.get(name, name) for name in table.categories)
        assert made_by["full"].read(unit) == encode_detection_table(replace(table, categories=names))
    old, renamed = (json.loads(one.read("metrics")) for one in (chain.artifact("metrics"), made_by["metrics"]))
    rows = {row["name"]: row for row in old["rows"]}
    for row in renamed["rows"]:
        categories = {{"auto mobile": "car"}.get(name, name): each for name, each in row["categories"].items()}
        assert categories == rows[row["name"]]["categories"]


def test_what_was_renamed_is_scored_exported_and_changed_under_its_name(
    run: Path, chain: Chain, tmp_path: Path
) -> None:
    out, where = tmp_path / "auto.yaml", ("--workspace", run / "workspace")
    assert rename(run, "car", "auto", out).code == 0
    images = tmp_path / "images"
    images.mkdir()
    shutil.copy(chain.data / "JPEGImages" / f"{val_keys(chain)[0]}.jpg", images)
    now = scored(run, out, images, tmp_path / "now")
    old = scored(run, run / "recipe.yaml", images, tmp_path / "old")
    assert [row[2:] for row in of(now, "auto")] == [row[2:] for row in of(old, "car")] != []
    assert of(now, "car") == []
    info, before = (json.loads((tmp_path / name / "output.json").read_text()) for name in ("now", "old"))
    assert info["numbers"]["auto"] == before["numbers"]["car"]
    bundle = tmp_path / "auto.sppnet"
    assert sppnet("export", out, "full", bundle, *where).code == 0
    found = sppnet_package.load(bundle)
    assert found.categories == tuple("auto" if name == "car" else name for name in CATEGORIES)
    assert {*found.detect(images / f"{val_keys(chain)[0]}.jpg").categories} <= {*found.categories}
    assert "auto" in found.description.regressors.categories
    back = rename(run, "auto", "car", tmp_path / "back.yaml", out)
    assert back.code == 0, back.lines
    assert load_recipe(tmp_path / "back.yaml").steps == {
        name: config for name, config in load_recipe(out).steps.items() if name != "full"
    } | {"full": load_recipe(run / "recipe.yaml").steps["full"]}
    base = load_recipe(out)
    without, _ = remove_category(base, "auto", None)
    assert without.steps["full"].model_dump(include={"categories", "renamed"}) == {
        "categories": tuple(name for name in CATEGORIES if name != "car"),
        "renamed": {},
    }
    twice, _ = rename_category(base, "house", "home", None)
    assert twice.steps["full"].model_dump()["renamed"] == {"car": "auto", "house": "home"}


def test_what_can_not_be_renamed(run: Path, chain: Chain, tmp_path: Path) -> None:
    out = tmp_path / "x.yaml"
    for old, new, message in (
        ("cow", "ox", "the detector of step full has bottle, car, house: 'cow' can't be renamed"),
        ("car", "house", "the detector of step full has category 'house' already"),
        ("car", "car", "the detector of step full has category 'car' already"),
        ("car", " ", "'car' can't be renamed to ' ': that is no name"),
    ):
        outcome = rename(run, old, new, out)
        assert (outcome.code, message in outcome.json["error"]) == (2, True), outcome.lines
    assert not out.exists()
    assert rename(run, "car", "auto", out).code == 0
    again = rename(run, "house", "car", tmp_path / "y.yaml", out)
    assert "has category 'car' already, now called 'auto'" in again.json["error"]
    assert (
        "has category 'car' already, now called 'auto'"
        in add(run, "car", tmp_path / "y.yaml", recipe=out).json["error"]
    )


def test_an_evaluation_stays_with_its_detector_alone(chain: Chain) -> None:
    base = parse_recipe({"version": 1, "name": "chain", "steps": chain.steps}, "chain")
    added = add_category(base, "moth", "full", Table("moths.csv", "pixel", {}))
    metrics = added.recipe.steps["metrics"]
    assert metrics.references() == {"images": ("images-moth",), "detections": ("full",)}
    assert "plain" not in added.recipe.steps
    assert parse_recipe(yaml.safe_load(recipe_text(added.recipe)), "x").steps == added.recipe.steps


def test_comparisons_stay_where_both_rows_are_the_detectors_own(chain: Chain) -> None:
    compared = {
        "boxes": {"row": "full+bb", "over": "full"},
        "regression": {"row": "full", "over": "plain"},
    }
    steps = {**chain.steps, "metrics": {**chain.steps["metrics"], "comparisons": compared}}
    base = parse_recipe({"version": 1, "name": "chain", "steps": steps}, "chain")
    changed = (
        add_category(base, "moth", "full", Table("moths.csv", "pixel", {})).recipe,
        remove_category(base, "car", "full")[0],
        rename_category(base, "car", "auto", "full")[0],
    )
    for recipe in changed:
        assert list(recipe.steps["metrics"].comparisons) == ["boxes"]
    assert add_category(base, "moth", "plain", None).recipe.steps["metrics"].comparisons == {}


def test_a_detector_of_one_category_keeps_it(chain: Chain) -> None:
    base = parse_recipe({"version": 1, "name": "chain", "steps": chain.steps}, "chain")
    one = replace(base, steps={**base.steps, "full": base.steps["full"].model_copy(update={"categories": ("car",)})})
    with pytest.raises(ConfigError, match="'car' can't be removed"):
        remove_category(one, "car", "full")
    with pytest.raises(ConfigError, match="has bottle, car, house: 'cow' can't be removed"):
        remove_category(base, "cow", "full")
