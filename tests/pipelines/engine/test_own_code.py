"""Own parts in recipes: allowed by the recipe that is run, in its fingerprints, the same on workers; else refused."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.artifacts.networks import encode_backbone
from pipelines.artifacts.windows_and_maps import decode_windows
from pipelines.engine.own_code import identities, named_parts, parts_of
from pipelines.engine.planning import PlannedStep
from pipelines.engine.recipe import Recipe, load_recipe, parse_recipe
from pipelines.engine.runner import Engine
from pipelines.engine.work import build_stage
from pipelines.engine.workspace import Workspace
from pipelines.executors.local import LocalExecutor
from pipelines.stages.pretrain import Pretrain
from pipelines.stages.weights import ImportWeightsConfig
from sppnet import own_parts
from sppnet.errors import ArtifactError, ConfigError
from sppnet.networks.backbones import BackboneSpec, build_backbone
from tests.support.chain import Silent, write_recipe
from tests.support.own_modules import NETWORK, PROPOSALS

Write = Callable[..., str]
DRAWN = {"kind": "drawn", "splits": {"train": 4}, "seed": 0, "size": [120, 160]}
STEPS: dict[str, dict[str, Any]] = {
    "images": {"stage": "ingest", "dataset": DRAWN},
    "windows": {
        "stage": "propose",
        "images": "images",
        "splits": ["train"],
        "methods": ["edge-boxes", "their_parts:corners"],
    },
    "network": {
        "stage": "pretrain", "images": "images", "architecture": "their_parts:factory", "view": "object",
        "size": [64], "levels": [2, 1], "hidden": [16, 16], "batch": 8, "schedule": [{"lr": 0.01, "steps": 1}],
        "plateau": None, "holdout": 0.0,
    },
    "maps": {"stage": "extract", "images": "images", "backbone": "network", "splits": ["train"], "scales": [96]},
}  # fmt: skip


@pytest.fixture
def recipe(own_module: Write, tmp_path: Path) -> Path:
    """A recipe with a network and proposals of its own."""
    own_module(NETWORK + PROPOSALS)
    return write_recipe(tmp_path / "own.yaml", STEPS)


def steps_of(recipe: Recipe, tmp_path: Path) -> dict[str, PlannedStep]:
    engine = Engine(recipe, Workspace.open(str(tmp_path / "workspace")))
    return {step.name: step for step in engine.steps}


def test_a_run_of_own_parts(recipe: Path, tmp_path: Path) -> None:
    loaded = load_recipe(recipe)
    engine = Engine(loaded, Workspace.open(str(tmp_path / "workspace")))
    engine.run(LocalExecutor(), Silent())
    planned = {step.name: step for step in engine.steps}
    artifact = engine.workspace.artifact(planned["windows"].spec.artifact)
    rows = [row for unit in sorted(artifact.committed()) for row in decode_windows(artifact.read(unit), unit)]
    assert len(rows) == 4
    for row in rows:
        w, h = row.width, row.height
        own = np.array([[0, 0, w / 2, h / 2], [w / 2, h / 2, w, h]], np.float32)
        assert row.windows[-2:].tolist() == own.tolist()
    # `extract` has read the network that another step published: its maps have the factory's channels and stride.
    info = build_stage(planned["maps"].spec).artifact.store.read(f"{planned['maps'].spec.artifact}/backbone.json")
    assert b"their_parts:factory" in info
    assert all(step.spec.own == planned["maps"].spec.own for step in engine.steps)
    assert [part.path for part in planned["maps"].spec.own] == ["their_parts:corners", "their_parts:factory"]


def test_an_edited_source_makes_other_artifacts(recipe: Path, own_module: Write, tmp_path: Path) -> None:
    before = steps_of(load_recipe(recipe), tmp_path)
    own_module(NETWORK + PROPOSALS.replace("+ 9", "+ 8"))
    after = steps_of(load_recipe(recipe), tmp_path)
    own_module(NETWORK + PROPOSALS)
    again = steps_of(load_recipe(recipe), tmp_path)
    names = {name: [found[name].spec.artifact for found in (before, after, again)] for name in STEPS}
    assert {name for name, (one, other, _) in names.items() if one != other} == {"windows", "network", "maps"}
    assert all(one == last for one, _, last in names.values())


def test_a_worker_allows_what_its_spec_names(recipe: Path, own_module: Write, tmp_path: Path) -> None:
    spec = steps_of(load_recipe(recipe), tmp_path)["network"].spec
    own_module(NETWORK + PROPOSALS)  # a process that has imported nothing
    with pytest.raises(ConfigError, match="their_parts:factory names code"):
        Pretrain(Pretrain.config_type.model_validate_json(spec.config), spec).config.spec()
    assert "their_parts" not in sys.modules
    assert build_stage(spec).config.spec().architecture == "their_parts:factory"
    own_module(NETWORK + PROPOSALS + "\n# another\n")
    with pytest.raises(
        ConfigError, match=r"^step network on .*: their_parts:corners: .*\.py is not here what it is where"
    ):
        build_stage(spec)
    with pytest.raises(ConfigError, match="their_parts:factory names code"):
        build_stage(replace(spec, own=())).config.spec()


def test_a_recipe_that_nobody_runs_names_no_code(recipe: Path) -> None:
    raw = {"version": 1, "name": "recorded", "steps": STEPS}
    expected = r"^recipe recorded: steps.windows.methods.1: their_parts:corners names code, which is run only if"
    with pytest.raises(ConfigError, match=expected):
        parse_recipe(raw, "recorded")
    assert "their_parts" not in sys.modules
    load_recipe(recipe)
    assert parse_recipe(raw, "recorded").steps == load_recipe(recipe).steps  # it was allowed before, in this process


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("windows.methods.1=no_such:f", "steps.windows.methods.1: no_such:f: module no_such can't be imported: "),
        ("windows.methods.1=their_parts:no", "steps.windows.methods.1: their_parts:no: their_parts has no no"),
        ("windows.methods.1=corners", "steps.windows.methods.1: must be a method or package.module:function"),
        ("network.architecture=their_parts:fact", "steps.network.architecture: .* did you mean 'factory'\\?"),
        (
            "network.architecture=their_parts:corners",
            "steps.network.backbone.architecture: their_parts:corners raised",
        ),
        ("network.architecture=their_parts", "steps.network.*: unknown 'their_parts', .*package.module:factory"),
    ],
)
def test_what_can_not_be_had_names_step_and_field(recipe: Path, override: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=f"^recipe .*own.yaml: {expected}") as caught:
        load_recipe(recipe, [override])
    assert "\n" not in str(caught.value)


def test_a_proposal_that_gives_something_else_ends_the_run(own_module: Write, tmp_path: Path) -> None:
    own_module("def corners(image):\n    return [[1, 2]]\n")
    steps = {name: STEPS[name] for name in ("images", "windows")}
    engine = Engine(load_recipe(write_recipe(tmp_path / "own.yaml", steps)), Workspace.open(str(tmp_path / "w")))
    with pytest.raises(ConfigError, match=r"^step windows: methods: train_\d+: their_parts:corners gave a list of"):
        engine.run(LocalExecutor(), Silent())


def test_weights_check_the_network_before_anything_runs(own_module: Write, tmp_path: Path) -> None:
    own_module("from torch import nn\ndef factory():\n    return nn.Sequential(nn.LSTM(3, 3))\n")
    step = {"stage": "weights", "architecture": "their_parts:factory", "path": "weights.safetensors"}
    with pytest.raises(ConfigError, match=r"steps.network.backbone.*their_parts:factory: layer '0': no geometry"):
        load_recipe(write_recipe(tmp_path / "own.yaml", {"network": step}))


def test_names_of_entry_points_become_import_paths(own_module: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    own_module(NETWORK + PROPOSALS)
    points = EntryPoints(
        EntryPoint(name, path, group)
        for name, path, group in [
            ("mine", "their_parts:factory", "sppnet.architectures"),
            ("zf5", "their_parts:factory", "sppnet.architectures"),  # no package takes over a name of sppnet's
            ("mine", "their_parts:corners", "sppnet.proposals"),
        ]
    )
    monkeypatch.setattr(own_parts, "entry_points", points.select)
    network = ImportWeightsConfig(stage="weights", architecture="mine", path="x")
    assert network.architecture == "their_parts:factory"
    assert list(named_parts(network)) == [("architecture", "their_parts:factory")]
    assert list(named_parts(ImportWeightsConfig(stage="weights", architecture="zf5", path="x"))) == []
    raw = {"images": STEPS["images"], "windows": {**STEPS["windows"], "methods": ["mine"]}}
    own_parts.allow("their_parts:corners")
    found = parse_recipe({"version": 1, "name": "own", "steps": raw}, "r").steps["windows"]
    assert found.methods == ("their_parts:corners",)
    part = own_parts.allowed("their_parts:corners")
    assert parts_of([found, found]) == (part,)
    assert identities([part]) == {"code their_parts:corners": {"sha256": part.sha256, "distribution": ""}}


def test_a_file_of_weights_that_names_code_is_refused(own_module: Write, tmp_path: Path) -> None:
    own_module(NETWORK)
    own_parts.allow("their_parts:factory")
    backbone = build_backbone(BackboneSpec("their_parts:factory"))
    path = tmp_path / "theirs.safetensors"
    path.write_bytes(encode_backbone(backbone.spec, backbone.trunk.state_dict()))
    own_module(NETWORK)
    step = {"stage": "weights", "architecture": "zf5", "path": str(path)}
    recipe = load_recipe(write_recipe(tmp_path / "other.yaml", {"network": step}))
    with pytest.raises(ArtifactError, match=r"theirs\.safetensors: .*their_parts:factory names code, which is run"):
        steps_of(recipe, tmp_path)
    assert "their_parts" not in sys.modules
    step["architecture"] = "their_parts:factory"  # the recipe names it too
    recipe = load_recipe(write_recipe(tmp_path / "other.yaml", {"network": step}))
    assert steps_of(recipe, tmp_path)["network"].spec.own[0].path == "their_parts:factory"
