"""What a job needs travels by the workspace, under the digest of its content, and changes no artifact."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import yaml

from jobs.recipes import find_recipe, recipe_names
from jobs.submit.baggage import Baggage, local_roots, pack
from pipelines.engine.planning import plan
from pipelines.engine.recipe import Recipe, load_recipe, parse_recipe
from pipelines.engine.store import open_store
from pipelines.engine.workspace import Workspace
from sppnet.errors import ConfigError
from tests.support.chain import Chain

IMPORTED = {"stage": "import-windows", "images": "images", "convention": "xyxy-0-half-open"}


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def recipe_of(chain: Chain, *paths: Path, **more: Any) -> Recipe:
    """The chain's first steps, with windows from files too."""
    steps = {name: chain.steps[name] for name in ("images", "network", "maps")}
    if paths:
        steps["found"] = {**IMPORTED, "paths": [str(path) for path in paths]}
    return parse_recipe({"version": 1, "name": "away", "steps": {**steps, **more}}, "away.yaml")


@pytest.fixture
def windows(chain: Chain, tmp_path: Path) -> Path:
    """A file of windows and a folder of two."""
    (tmp_path / "sets").mkdir()
    for name in ("all.json", "sets/a.json", "sets/b.json"):
        (tmp_path / name).write_text(f'{{"{name[-6]}": [[0, 0, 30, 30]]}}')
    return tmp_path


def unpacked(baggage: Baggage, workspace: Path) -> Recipe:
    """The recipe as the head reads it."""
    return load_recipe(f"{workspace}/{baggage.name}")


def test_files_lie_under_their_digest_and_are_put_once(chain: Chain, windows: Path) -> None:
    recipe = recipe_of(chain, windows / "all.json", windows / "sets")
    weights = Path(chain.steps["network"]["path"])
    baggage = pack(recipe, "s3://b/w")
    steps: Any = baggage.recipe.steps
    assert steps["network"].path == f"s3://b/w/uploads/{sha256(weights)}/{weights.name}"
    single, folder = steps["found"].paths
    assert single == f"s3://b/w/uploads/{sha256(windows / 'all.json')}/all.json"
    assert folder.startswith("s3://b/w/uploads/")
    assert folder.endswith("/sets")
    names = {name.removeprefix(folder.removeprefix("s3://b/w/")) for name in baggage.files if "/sets/" in name}
    assert names == {"/a.json", "/b.json"}

    store = open_store(str(windows / "workspace"))
    sizes = sum(path.stat().st_size for path in baggage.files.values())
    assert baggage.upload(store) == (4, sizes)
    assert store.read(f"uploads/{sha256(weights)}/{weights.name}") == weights.read_bytes()
    digest = hashlib.sha256(store.read(baggage.name)).hexdigest()
    assert baggage.name == f"uploads/{digest}/recipe.yaml"
    assert baggage.upload(store) == (0, 0)


def test_what_says_more_of_weights_comes_along(chain: Chain, tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(Path(chain.steps["network"]["path"]).read_bytes())
    (tmp_path / "config.json").write_text('{"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}')
    step = {**chain.steps["network"], "path": str(weights)}
    baggage = pack(parse_recipe({"version": 1, "name": "away", "steps": {"network": step}}, "away.yaml"), "s3://b/w")
    config: Any = baggage.recipe.steps["network"]
    folder = config.path.removeprefix("s3://b/w/").removesuffix("/model.safetensors")
    assert baggage.files == {
        f"{folder}/model.safetensors": weights,
        f"{folder}/config.json": tmp_path / "config.json",
    }


def test_the_artifacts_are_those_of_a_run_from_here(chain: Chain, windows: Path) -> None:
    recipe = recipe_of(chain, windows / "all.json", windows / "sets")
    workspace = windows / "workspace"
    baggage = pack(recipe, str(workspace))
    baggage.upload(open_store(str(workspace)))
    away = unpacked(baggage, workspace)
    assert away.name == "away"
    assert away.steps == baggage.recipe.steps
    assert away.steps != recipe.steps
    opened = Workspace.open(str(workspace))
    names = {step.name: step.spec.artifact for step in plan(recipe, opened)}
    assert {step.name: step.spec.artifact for step in plan(away, opened)} == names


def test_an_artifact_of_windows_travels_whole(chain: Chain, tmp_path: Path) -> None:
    artifact = chain.root / chain.artifact("windows").name
    recipe = recipe_of(chain, artifact)
    baggage = pack(recipe, str(tmp_path))
    baggage.upload(open_store(str(tmp_path)))
    opened = Workspace.open(str(tmp_path))
    names = {step.name: step.spec.artifact for step in plan(recipe, opened)}
    assert {step.name: step.spec.artifact for step in plan(unpacked(baggage, tmp_path), opened)} == names


def test_what_is_in_an_object_store_stays(chain: Chain) -> None:
    network = {**chain.steps["network"], "path": "s3://elsewhere/zf5.safetensors"}
    baggage = pack(recipe_of(chain, network=network), "s3://b/w")
    assert baggage.files == {}
    assert baggage.recipe.steps == recipe_of(chain, network=network).steps


def test_a_file_that_is_not_there_is_told_by_its_field(chain: Chain, tmp_path: Path) -> None:
    network = {**chain.steps["network"], "path": str(tmp_path / "gone.pth")}
    with pytest.raises(ConfigError) as caught:
        pack(recipe_of(chain, network=network), "s3://b/w")
    assert str(caught.value) == (f"steps.network.path: {tmp_path}/gone.pth can't be read: No such file or directory")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"^steps\.found\.paths: the folder .*/empty holds no files$"):
        pack(recipe_of(chain, tmp_path / "empty"), "s3://b/w")


@pytest.mark.parametrize("name", recipe_names())
def test_a_built_in_recipe_reads_back_the_same_with_its_defaults(name: str) -> None:
    recipe = load_recipe(find_recipe(name))
    assert parse_recipe(yaml.safe_load(recipe.to_yaml()), recipe.source) == recipe


def images(**dataset: Any) -> Recipe:
    steps = {"images": {"stage": "ingest", "dataset": dataset}}
    return parse_recipe({"version": 1, "name": "away", "steps": steps}, "away.yaml")


@pytest.mark.parametrize(
    ("dataset", "roots"),
    [
        ({"root": "/data/VOC"}, ["/data/VOC"]),
        ({"root": "s3://b/VOC"}, []),
        ({"kind": "tars", "splits": {"a": ["/t/{0..3}.tar", "s3://b/x.tar"]}}, ["/t/{0..3}.tar"]),
        ({"kind": "tars", "root": "/t", "splits": {"a": "0.tar"}}, ["/t"]),
        (
            {
                "kind": "joined",
                "parts": [{"kind": "images", "root": "/a"}, {"kind": "images", "root": "/b", "split": "b"}],
            },
            ["/a", "/b"],
        ),
    ],
)
def test_local_data_sets_are_told(dataset: dict[str, Any], roots: list[str]) -> None:
    assert list(local_roots(images(**dataset))) == [("images", root) for root in roots]


def test_a_drawn_data_set_needs_no_folder() -> None:
    demo = load_recipe(find_recipe("demo"))
    assert list(local_roots(demo)) == []
    assert pack(demo, "s3://b/w").files == {}


@pytest.mark.parametrize("dataset", [{"root": "data/VOC"}, {"kind": "tars", "splits": {"a": ["x.tar"]}}])
def test_a_relative_data_set_is_refused(dataset: dict[str, Any]) -> None:
    with pytest.raises(
        ConfigError, match=r"^steps\.images\.dataset: .* is relative to this folder, and a job runs else"
    ):
        list(local_roots(images(**dataset)))


def test_a_recipe_that_was_changed_in_the_workspace_is_not_run(chain: Chain, tmp_path: Path) -> None:
    """It could name code, and who writes the workspace may not."""
    baggage = pack(recipe_of(chain), str(tmp_path))
    baggage.upload(open_store(str(tmp_path)))
    assert unpacked(baggage, tmp_path).steps == baggage.recipe.steps
    place = tmp_path / baggage.name
    place.write_text(place.read_text().replace("zf5", "their_parts:factory"))
    with pytest.raises(ConfigError, match=r"recipe\.yaml: is not what was submitted: submit it again$"):
        unpacked(baggage, tmp_path)
