from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.engine.recipe import load_recipe, parse_recipe
from pipelines.engine.store import open_store
from sppnet.errors import ConfigError
from tests.support.toy_fixtures import Toys

TEXT = """\
version: 1
name: toy
seed: 7
steps:
  raise:
    stage: powers
    numbers: count
    power: 3
  count:
    stage: numbers
    shards: 3
"""


@pytest.fixture
def path(tmp_path: Path, toys: Toys) -> Path:
    path = tmp_path / "toy.yaml"
    path.write_text(TEXT)
    return path


def refusal(path: Path, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_recipe(path, overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(f"recipe {path}", "R")


def test_a_recipe_is_read_and_its_steps_ordered(path: Path) -> None:
    recipe = load_recipe(path)
    assert (recipe.name, recipe.seed, recipe.source) == ("toy", 7, str(path))
    assert list(recipe.steps) == ["count", "raise"]
    assert recipe.steps["raise"].power == 3
    assert recipe.steps["raise"].shards == (0, 1, 2)
    assert recipe.steps["raise"].max_quarantined == 0.05


def test_a_recipe_with_its_defaults_reads_back_the_same(path: Path) -> None:
    recipe = load_recipe(path)
    again = parse_recipe(yaml.safe_load(recipe.to_yaml()), recipe.source)
    assert again == recipe
    assert again.to_yaml() == recipe.to_yaml()
    assert "pause: 0.0" in recipe.to_yaml()


def test_gpus_are_set_for_all_steps_that_take_them_and_one_override_holds(path: Path) -> None:
    path.write_text(TEXT + "  more:\n    stage: halves\n    numbers: count\n    gpus: 4\n")

    def gpus(**options: Any) -> dict[str, Any]:
        steps = load_recipe(path, **options).steps
        return {name: step.gpus for name, step in steps.items() if hasattr(step, "gpus")}

    assert gpus() == {"raise": 0, "more": 4}
    assert gpus(gpus="0.5") == {"raise": 0.5, "more": 0.5}
    assert gpus(gpus="0", overrides=["more.gpus=2"]) == {"raise": 0, "more": 2}
    with pytest.raises(ConfigError, match=r"steps\.(raise|more)\.gpus: .*got 'two'"):
        gpus(gpus="two")


def test_configs_cant_be_changed(path: Path) -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_recipe(path).steps["raise"].power = 4


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("power: 3", "powr: 3", "R: steps.raise.powr: unknown key; did you mean 'power'?"),
        ("power: 3", "power: many", "R: steps.raise.power: input should be a valid integer, "
         "unable to parse string as an integer, got 'many'"),
        ("power: 3", "power: [3]", "R: steps.raise.power: input should be a valid integer, got [3]"),
        ("power: 3", "shards: [0, x, y]", "R: steps.raise.shards.1: input should be a valid integer, "
         "unable to parse string as an integer, got 'x' (and 1 more)"),
        ("power: 3", "max_quarantined: 1.5", "R: steps.raise.max_quarantined: input should be less than or "
         "equal to 1, got 1.5"),
        ("shards: 3", "size: 0", "R: steps.count.size: input should be greater than or equal to 1, got 0"),
        ("    numbers: count\n", "", "R: steps.raise.numbers: is required"),
        ("numbers: count", "numbers: cuont", "R: steps.raise.numbers: no step 'cuont'; did you mean 'count'?"),
        ("numbers: count", "numbers: raise", "R: steps read each other in a circle: raise -> raise"),
        ("stage: powers", "stage: power", "R: steps.raise.stage: unknown stage 'power'; did you mean 'powers'?"),
        ("power: 3", "shards: [0, 5]", "R: steps.raise.shards: 5 is not among those of its input"),
        ("seed: 7", "sed: 7", "R: unknown key 'sed'; did you mean 'seed'?"),
        ("seed: 7", "seed: x", "R: seed 'x' must be an integer"),
        ("seed: 7", "seed: true", "R: seed True must be an integer"),
        ("version: 1", "version: 2", "R: version is 2, this sppnet reads version 1"),
        ("version: 1\n", "", "R: version is None, this sppnet reads version 1"),
        ("name: toy", "name: My Run", "R: name 'My Run' must be at most 100 lower-case "
         "letters, digits, '.', '_' or '-'"),
        ("name: toy", "name: ../up", "R: name '../up' must be at most 100 lower-case letters, digits, '.', '_' or '-'"),
        ("  count:", "  Count:", "R: steps.Count: a step's name must be at most 100 lower-case "
         "letters, digits, '.', '_' or '-'"),
        ("  count:", "  raise:", "R at line 9: not YAML ('raise' is given twice)"),
        ("shards: 3", "shards: 3\n    shards: 4", "R at line 12: not YAML ('shards' is given twice)"),
        ("shards: 3", "shards: [3", "R at line 12: not YAML (expected ',' or ']', but got '<stream end>')"),
        ("shards: 3", "shards: !!python/object:os.system {}", "R at line 11: not YAML (could not determine a "
         "constructor for the tag 'tag:yaml.org,2002:python/object:os.system')"),
    ],
)  # fmt: skip
def test_a_wrong_recipe_is_one_line(path: Path, old: str, new: str, message: str) -> None:
    assert old in TEXT
    path.write_text(TEXT.replace(old, new, 1))
    assert refusal(path) == message


def test_a_step_without_stage_lists_the_stages(path: Path) -> None:
    path.write_text(TEXT.replace("    stage: numbers\n", ""))
    message = refusal(path)
    assert message.startswith("R: steps.count: needs 'stage', one of ingest, ")
    assert message.endswith("numbers, powers, halves")


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just words\n", "3"])
def test_what_is_no_mapping_is_refused(path: Path, text: str) -> None:
    path.write_text(text)
    assert refusal(path) == "R: expected a mapping with the keys version, name, seed, category_groups, steps"


@pytest.mark.parametrize("steps", [None, {}, [], "x"])
def test_steps_must_be_a_mapping(toys: Toys, steps: Any) -> None:
    with pytest.raises(ConfigError, match=r"^recipe r: steps must be a mapping with at least one step$"):
        parse_recipe({"version": 1, "name": "toy", "steps": steps}, "r")


def test_an_input_of_the_wrong_kind_is_named(toys: Toys, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.support import toy_stages

    monkeypatch.setattr(toy_stages.Numbers, "makes", "letters")
    with pytest.raises(ConfigError) as caught:
        parse_recipe(toys.raw(), "r")
    assert str(caught.value) == "recipe r: steps.raise.numbers: step 'count' makes letters, expected numbers or powers"


def test_a_longer_circle_is_named(toys: Toys) -> None:
    steps = {name: {"stage": "powers", "numbers": other} for name, other in (("a", "b"), ("b", "c"), ("c", "a"))}
    with pytest.raises(ConfigError, match=r"^recipe r: steps read each other in a circle: \w -> \w -> \w -> \w$"):
        parse_recipe({"version": 1, "name": "toy", "steps": steps}, "r")


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_a_file_that_cant_be_read_is_named(path: Path, content: bytes | None) -> None:
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    assert refusal(path).startswith("R can't be read: " if content is None else "R: line 1: byte 0x00 is not UTF-16")


@pytest.mark.parametrize(
    ("override", "step", "field", "value"),
    [
        ("raise.power=5", "raise", "power", 5),
        ("steps.raise.power=5", "raise", "power", 5),
        (" raise.power = 5", "raise", "power", 5),
        ("raise.shards=[0, 2]", "raise", "shards", (0, 2)),
        ("raise.marks=a=b", "raise", "marks", "a=b"),
        ("count.size=9", "count", "size", 9),
    ],
)
def test_set_changes_a_field(path: Path, override: str, step: str, field: str, value: Any) -> None:
    assert getattr(load_recipe(path, [override]).steps[step], field) == value


def test_set_changes_nothing_of_another_step_that_shares_the_value(path: Path) -> None:
    """An alias stands for the same value in several steps; one that is set is that step's own."""
    path.write_text(
        "version: 1\nname: shared\nsteps:\n"
        "  a: {stage: propose, images: i, edge_boxes: &edges {alpha: 0.5, beta: 0.7}}\n"
        "  b: {stage: propose, images: i, edge_boxes: *edges}\n"
        "  i: {stage: ingest, dataset: {root: x, splits: [train, val]}}\n"
    )
    found = load_recipe(path, ["b.edge_boxes.alpha=0.6", "a.edge_boxes.beta=0.8"]).steps
    assert [(found[step].edge_boxes.alpha, found[step].edge_boxes.beta) for step in "ab"] == [(0.5, 0.8), (0.6, 0.7)]


def test_set_changes_the_seed_and_the_name_and_the_last_one_holds(path: Path) -> None:
    recipe = load_recipe(path, ["seed=1", "name=other", "seed=2"])
    assert (recipe.seed, recipe.name) == (2, "other")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("riase.power=5", "--set riase.power=5: no steps.riase in the recipe; did you mean 'raise'?"),
        ("nothing.power=5", "--set nothing.power=5: no steps.nothing in the recipe; known: raise, count"),
        ("raise.powr=5", "R: steps.raise.powr: unknown key; did you mean 'power'?"),
        ("raise.power=x", "R: steps.raise.power: input should be a valid integer, "
         "unable to parse string as an integer, got 'x'"),
        ("raise.power.deep=1", "--set raise.power.deep=1: steps.raise.power holds no fields"),
        ("name.deep=1", "--set name.deep=1: name holds no fields"),
        ("raise.power", "--set raise.power: expected step.field=value"),
        ("raise..power=1", "--set raise..power=1: expected step.field=value"),
        ("=1", "--set =1: expected step.field=value"),
        ("power=1", "--set power=1: expected step.field=value, seed=value or name=value"),
        ("version=2", "--set version=2: expected step.field=value, seed=value or name=value"),
        ("steps={}", "--set steps={}: expected step.field=value, seed=value or name=value"),
    ],
)  # fmt: skip
def test_a_wrong_set_is_one_line(path: Path, override: str, message: str) -> None:
    assert refusal(path, override) == message


def test_a_set_value_that_is_no_yaml_is_one_line(path: Path) -> None:
    assert refusal(path, "raise.shards=[0,") == (
        "--set raise.shards=[0,: the value is not YAML (expected the node content, but found '<stream end>')"
    )


@pytest.mark.s3
def test_a_recipe_is_read_from_a_store_by_its_uri(path: Path, toys: Toys, s3: str) -> None:
    open_store(s3).put("some/toy.yaml", path.read_bytes())
    uri = f"{s3}/some/toy.yaml"
    recipe = load_recipe(uri, ["seed=8"])
    assert (recipe.name, recipe.seed, recipe.source) == ("toy", 8, uri)
    with pytest.raises(ConfigError) as caught:
        load_recipe(f"{s3}/none.yaml")
    assert str(caught.value) == f"recipe {s3}/none.yaml does not exist"
