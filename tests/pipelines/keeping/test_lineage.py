"""What would come out otherwise if something else did, unit by unit."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.engine.phases import Phase
from pipelines.engine.planning import plan
from pipelines.engine.recipe import parse_recipe
from pipelines.engine.workspace import Workspace
from pipelines.executors.local import LocalExecutor
from pipelines.keeping.lineage import followers, inputs_of, made_from, strangers, trained
from tests.support.chain import Chain
from tests.support.toy_fixtures import UNITS, Toys
from tests.support.toy_stages import Powers

SUM = "sum/0_1_2"


def toy_steps(toys: Toys, **halves: Any) -> list[Any]:
    """Numbers, their powers (which read them whole), and their halves (shard by shard)."""
    raw = toys.raw()
    raw["steps"]["half"] = {"stage": "halves", "numbers": "count", "shards": [0, 1, 2], **halves}
    return plan(parse_recipe(raw, "toy.yaml"), Workspace.open(toys.workspace))


def follow(steps: list[Any], step: str, *units: str) -> dict[str, set[str]]:
    """What follows from some units of a step, by step."""
    names = {one.name: one.spec.artifact for one in steps}
    found = followers([steps], {(names[step], unit) for unit in units})
    return {
        name: {unit for artifact, unit in found if artifact == own}
        for name, own in names.items()
        if any(artifact == own for artifact, _ in found)
    }


def test_streamed_inputs_are_followed_by_unit_and_others_as_a_whole(toys: Toys) -> None:
    assert follow(toy_steps(toys), "count", UNITS[1]) == {"raise": {*UNITS[:3], SUM}, "half": {UNITS[1]}}


def test_later_phases_follow_earlier_ones(toys: Toys) -> None:
    assert follow(toy_steps(toys), "raise", UNITS[0]) == {"raise": {SUM}}
    assert follow(toy_steps(toys), "raise", SUM) == {}
    assert follow(toy_steps(toys, total="raise"), "raise", SUM) == {"half": set(UNITS[:3])}


def test_what_others_share_is_followed_in_all_recipes(toys: Toys) -> None:
    """The halves of another recipe are halved once more there."""
    first = toy_steps(toys)
    raw = toys.raw()
    raw["steps"]["half"] = {"stage": "halves", "numbers": "count", "shards": [0, 1, 2]}
    raw["steps"]["quarter"] = {"stage": "halves", "numbers": "half", "shards": [0, 1, 2]}
    second = plan(parse_recipe(raw, "toy.yaml"), Workspace.open(toys.workspace))
    changed = {(first[0].spec.artifact, UNITS[2])}
    found = followers([second, first], changed)
    assert (second[-1].spec.artifact, UNITS[2]) in found
    assert found == followers([first, second], changed)


def test_of_nothing_nothing_follows(toys: Toys) -> None:
    assert follow(toy_steps(toys), "count", "all/999999") == {}
    assert followers([], {("numbers-0", "all/000000")}) == set()


def test_a_shard_of_one_split_is_not_followed_by_what_takes_another(chain: Chain) -> None:
    val, train = chain.shards("val")[0], chain.shards("train")[0]
    steps = chain.engine.steps
    of_map = follow(steps, "maps", f"s0160/{val}")
    assert of_map == {"plain": {val}, "full": {val}, "metrics": set(chain.units("metrics"))}
    of_image = follow(steps, "images", train)
    assert of_image["images"] == {chain.manifest.annotations(train)}
    assert of_image["windows"] == {train}
    assert of_image["maps"] == {f"s0160/{train}", f"s0240/{train}"}
    assert of_image["svms"] == set(chain.units("svms"))
    assert of_image["regressors"] == set(chain.units("regressors"))
    assert of_image["plain"] == set(chain.shards("val"))


def test_labels_are_followed_by_what_uses_them(chain: Chain) -> None:
    label = chain.manifest.annotations(chain.shards("val")[0])
    assert follow(chain.engine.steps, "images", label) == {"metrics": set(chain.units("metrics"))}


def test_a_network_is_followed_through_maps_that_nobody_stores(chain: Chain) -> None:
    stored = follow(chain.engine.steps, "network", "model")
    assert set(stored) == {"maps", "svms", "regressors", "plain", "full", "metrics"}
    made = chain.changed(maps={"keep": "never"})
    steps = made.engine.steps
    found = follow(steps, "network", "model")
    assert set(found) == {"svms", "regressors", "plain", "full", "metrics"}
    assert found["plain"] == set(chain.shards("val"))
    val = chain.shards("val")[0]
    assert follow(steps, "images", val)["plain"] == {val}


def test_what_is_trained_is_known_by_its_workers(toys: Toys, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = toy_steps(toys)
    assert trained([steps]) == set()
    monkeypatch.setattr(Powers, "phases", lambda self: [Phase("train", (SUM,), workers=2)])
    assert trained([steps]) == {(steps[1].spec.artifact, SUM)}


def test_artifacts_are_named_before_what_they_were_made_from(toys: Toys) -> None:
    workspace = Workspace.open(toys.workspace)
    for name, inputs in {"a-1": {}, "b-1": {"x": ["a-1"]}, "c-1": {"x": ["b-1"], "y": ["a-1"]}, "d-1": {}}.items():
        workspace.artifact(name).describe({"inputs": inputs})
    found = inputs_of(workspace, ["a-1", "b-1", "c-1", "d-1", "none-1"])
    assert found == {
        "a-1": frozenset(),
        "b-1": frozenset({"a-1"}),
        "c-1": frozenset({"a-1", "b-1"}),
        "d-1": frozenset(),
        "none-1": frozenset(),
    }
    assert made_from(found, "a-1") == ["c-1", "b-1"]
    assert made_from(found, "c-1") == []


def test_artifacts_of_no_recipe_are_strangers(toys: Toys) -> None:
    toys.run(LocalExecutor())
    toys.run(LocalExecutor(), power=3)
    numbers, squares = (step.spec.artifact for step in toys.engine().steps)
    cubes = toys.powers(power=3).name
    workspace, changed = Workspace.open(toys.workspace), [(numbers, UNITS[0])]
    assert strangers(workspace, [toys.engine().steps, toys.engine(power=3).steps], changed) == []
    assert strangers(workspace, [toys.engine().steps], changed) == [cubes]
    assert strangers(workspace, [], [(squares, UNITS[0])]) == []
