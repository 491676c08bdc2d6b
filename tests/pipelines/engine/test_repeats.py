"""Repeats and groups make what their spelled-out form makes, and messages name steps as they were written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.engine.planning import plan
from pipelines.engine.recipe import load_recipe, parse_recipe
from pipelines.engine.repeats import write_out
from pipelines.engine.workspace import Workspace
from sppnet.errors import ConfigError

NAMES = ["bottle", "butterfly", "car", "fish", "flower", "house"]
IMAGES = {"stage": "ingest", "dataset": {"kind": "drawn", "splits": {"train": 4, "val": 2}}}
WINDOWS = {"stage": "propose", "images": "images"}
NETWORK = {"stage": "pretrain", "images": "images", "width": 0.1}


def model(number: str, categories: Any) -> dict[str, dict[str, Any]]:
    common = {"images": "images", "windows": "windows", "maps": f"maps{number}"}
    return {
        f"maps{number}": {"stage": "extract", "images": "images", "backbone": f"network{number}"},
        f"head{number}": {"stage": "finetune", **common, "init": f"network{number}", "categories": categories},
        f"svms{number}": {"stage": "train-svms", **common, "head": f"head{number}", "features": "fc7"}
        | {"categories": categories},
        f"model{number}": {"stage": "score", **common, "svms": f"svms{number}"},
    }


def artifacts(steps: dict[str, Any], **top: Any) -> dict[str, str]:
    recipe = parse_recipe({"version": 1, "name": "r", "steps": steps, **top}, "r")
    return {step.name: step.spec.artifact for step in plan(recipe, Workspace.open("memory://repeats"))}


def spelled_out() -> dict[str, str]:
    steps: dict[str, Any] = {"images": IMAGES, "windows": WINDOWS}
    for number in (1, 2, 3):
        steps |= {f"network-{number}": {**NETWORK, "seed": number + 6}, **model(f"-{number}", NAMES)}
    together = {"stage": "combine", "images": "images", "detections": ["model-1", "model-2", "model-3"]}
    return artifacts({**steps, "together": together})


@pytest.mark.parametrize(("categories", "groups"), [("all", {}), ("six", {"six": NAMES}), (NAMES, {})])
def test_a_recipe_makes_what_its_spelled_out_form_makes(categories: Any, groups: Any) -> None:
    steps = {
        "together": {"stage": "combine", "images": "images", "detections": ["model"]},
        **model("", categories),
        "network": {**NETWORK, "seed": 7, "repeat": 3},
        "windows": WINDOWS,
        "images": IMAGES,
    }
    found = artifacts(steps, category_groups=groups)
    assert found == spelled_out()
    assert len({found[f"model-{number}"] for number in (1, 2, 3)}) == 3


def test_rows_by_name_take_all_repeats_too() -> None:
    steps = {
        "images": IMAGES,
        "network": {**NETWORK, "repeat": 2},
        "views": {"stage": "classify", "images": "images", "network": "network"},
        "metrics": {"stage": "evaluate-classes", "images": "images", "scores": ["views"]}
        | {"ensembles": {"both": ["views"]}, "groups": {"mean": ["views", "both"]}},
    }
    metrics: Any = parse_recipe({"version": 1, "name": "r", "steps": steps}, "r").steps["metrics"]
    assert metrics.scores == ("views-1", "views-2")
    assert metrics.ensembles == {"both": ("views-1", "views-2")}
    assert metrics.groups == {"mean": ("views-1", "views-2", "both")}


def test_steps_that_read_one_another_stay_together() -> None:
    steps = {"network": {**NETWORK, "repeat": 2}, **model("", NAMES)}
    written = write_out({"images": IMAGES, **steps, "windows": WINDOWS}, {}, "r")
    repeated = ["network", "maps", "head", "svms", "model"]
    assert list(written) == ["images", *(f"{name}-{n}" for n in (1, 2) for name in repeated), "windows"]
    assert written["svms-2"].name == "svms"
    assert written["svms-2"].fields["head"] == "head-2"
    assert "repeat" not in written["network-2"].fields


def test_a_written_out_recipe_reads_back_the_same() -> None:
    steps = {"images": IMAGES, "network": {**NETWORK, "repeat": 2}, "windows": WINDOWS, **model("", "all")}
    recipe = parse_recipe({"version": 1, "name": "r", "steps": steps}, "r")
    assert recipe.steps["head-1"].categories == ("*",)
    assert parse_recipe(yaml.safe_load(recipe.to_yaml()), "r") == recipe


SECOND = {"network": {**NETWORK, "repeat": 3}, "maps": {"stage": "extract", "images": "images", "backbone": "network"}}
REFUSED = [
    ({"network": {**NETWORK, "repeat": 1}}, "steps.network.repeat: must be an integer from 2 to 100, got 1"),
    ({"network": {**NETWORK, "repeat": "6"}}, "steps.network.repeat: must be an integer from 2 to 100, got '6'"),
    ({"network": {**NETWORK, "repeat": 2, "widht": 1}}, "steps.network.widht: unknown key; did you mean 'width'?"),
    ({"windows": {**WINDOWS, "repeat": 2}}, "steps.windows.repeat: stage propose has no seed, so that all would be"),
    ({"network": {**NETWORK, "repeat": 2}, "network-2": NETWORK}, "steps.network.repeat: there is a step 'network-2'"),
    ({**SECOND, "maps": {**SECOND["maps"], "repeat": 2}}, "steps.maps.backbone: 'network' is made 3 times, 'maps' 2"),
    ({**SECOND, "maps": {**SECOND["maps"], "scales": [0]}}, "steps.maps.scales.0: input should be greater than or"),
    ({**SECOND, "views": {"stage": "classify", "images": "images", "network": "maps"}}, "steps.views.network: step 'm"),
    (
        {"network": NETWORK, **model("", "sx")},
        "steps.head.categories: no group 'sx' in category_groups; did you mean 's",
    ),
]


@pytest.mark.parametrize(("steps", "message"), REFUSED, ids=[message[:40] for _, message in REFUSED])
def test_messages_name_steps_as_they_were_written(steps: dict[str, Any], message: str) -> None:
    groups = {"six": NAMES}
    raw = {"version": 1, "name": "r", "category_groups": groups, "steps": {"images": IMAGES, **steps}}
    with pytest.raises(ConfigError) as caught:
        parse_recipe(raw, "r")
    assert str(caught.value).startswith(f"recipe r: {message}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("groups", [["a"], {"a": []}, {"a": "b"}, {"a": [1]}, {"all": ["a"]}])
def test_a_group_is_a_list_of_categories(groups: Any) -> None:
    with pytest.raises(ConfigError, match=r"^recipe r: category_groups"):
        parse_recipe({"version": 1, "name": "r", "category_groups": groups, "steps": {"images": IMAGES}}, "r")


def test_a_data_set_without_categories_has_not_all(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"no image, which nobody looks at here")
    images = {"stage": "ingest", "dataset": {"kind": "images", "root": str(tmp_path), "split": "train"}}
    maps = {"network": {**NETWORK}, **model("", "all")}
    maps["maps"] |= {"splits": ["train"]}
    with pytest.raises(ConfigError, match=r"^step head: categories: all: the data set has none; name them$"):
        artifacts(
            {"images": images, "windows": {**WINDOWS, "splits": ["train"]}, "maps": maps["maps"]}
            | {"network": NETWORK, "head": maps["head"]}
        )


def test_overrides_are_of_the_steps_as_written(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(yaml.safe_dump({"version": 1, "name": "r", "steps": {"images": IMAGES, **SECOND}}))
    recipe = load_recipe(path, ["network.batch=32", "network.repeat=2"])
    assert [name for name in recipe.steps if name.startswith("maps")] == ["maps-1", "maps-2"]
    networks = [recipe.steps["network-1"], recipe.steps["network-2"]]
    assert [(network.batch, network.seed) for network in networks] == [(32, 0), (32, 1)]
