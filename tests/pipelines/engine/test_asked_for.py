"""What a recipe asks for is asked for before anything is looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from jobs.recipes import find_recipe, recipe_names
from pipelines.engine.asked_for import check_given
from pipelines.engine.planning import plan
from pipelines.engine.recipe import load_recipe, parse_recipe
from pipelines.engine.workspace import Workspace
from sppnet.errors import ConfigError


def recipe(**steps: dict[str, Any]) -> Any:
    return parse_recipe({"version": 1, "name": "r", "steps": steps}, "mine.yaml")


ASKING = {"stage": "ingest", "dataset": {"root": "??? VOC (example.org): its folder"}}
WEIGHTS = {"stage": "weights", "path": "???", "architecture": "zf5"}


def test_what_is_wanted_is_said_once_with_all_places_and_how_to_give_it(tmp_path: Path) -> None:
    asking = recipe(images=ASKING, others=ASKING, backbone=WEIGHTS)
    message = (
        "recipe mine.yaml asks for images.dataset.root and others.dataset.root: VOC (example.org): its folder; "
        "backbone.path. Give it: --set images.dataset.root=... --set others.dataset.root=... --set backbone.path=..."
    )
    with pytest.raises(ConfigError) as caught:
        plan(asking, Workspace.open(str(tmp_path)))
    assert str(caught.value) == message


def test_only_some_stages_may_count() -> None:
    asking = recipe(images={"stage": "ingest", "dataset": {"kind": "drawn", "splits": {"a": 1}}}, backbone=WEIGHTS)
    check_given(asking, "ingest")
    with pytest.raises(ConfigError, match=r"asks for backbone\.path\. Give it"):
        check_given(asking, "weights")


def test_parts_of_lists_are_given_by_their_numbers(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    parts = [{"kind": "drawn", "splits": {"train": 1}}, {"root": "???", "splits": ["val"]}]
    steps = {"images": {"stage": "ingest", "dataset": {"kind": "joined", "parts": parts}}}
    path.write_text(yaml.safe_dump({"version": 1, "name": "r", "steps": steps}))
    with pytest.raises(ConfigError, match=r"Give it: --set images\.dataset\.parts\.1\.root=\.\.\.$"):
        check_given(load_recipe(path))
    given: Any = load_recipe(path, ["images.dataset.parts.1.root=here"])
    check_given(given)
    assert [part.root for part in given.steps["images"].dataset.parts] == ["", "here"]
    for wrong in ("2.root=a", "-1.root=a", "x=a", "root=a"):
        with pytest.raises(ConfigError, match=r"images\.dataset\.parts is a list of 2: 0, 1, \.\.\.$"):
            load_recipe(path, [f"images.dataset.parts.{wrong}"])


@pytest.mark.parametrize("name", recipe_names())
def test_no_built_in_recipe_has_a_path_of_its_own(name: str) -> None:
    """All but the drawn data set is asked for, with what it is."""
    loaded: Any = load_recipe(find_recipe(name))
    roots = [step.dataset.roots() for step in loaded.steps.values() if step.stage == "ingest"]
    files = [step.path for step in loaded.steps.values() if step.stage == "weights" and step.path]
    assert all(path.startswith("??? ") for path in [*(root for group in roots for root in group), *files])
    if name == "demo":
        check_given(loaded)
    else:
        with pytest.raises(ConfigError, match=f"^recipe .*{name}.yaml asks for .*[)\\w]: .*Give it: --set "):
            check_given(loaded)
