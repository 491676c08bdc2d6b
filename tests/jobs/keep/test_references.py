"""What runs refer to: their recipes' steps, and what they say they have made."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from jobs.keep.references import references
from jobs.run.history import start_run
from pipelines.engine.recipe import load_recipe
from pipelines.engine.runner import Engine
from pipelines.engine.workspace import Workspace
from pipelines.executors.local import LocalExecutor
from tests.support.chain import Silent, write_recipe
from tests.support.in_process import sppnet
from tests.support.own_modules import PROPOSALS
from tests.support.recorded_runs import make
from tests.support.toy_fixtures import Toys


def names(engine) -> set[str]:
    return {step.spec.artifact for step in engine.steps}


def test_every_run_counts_and_equal_ones_once(toys: Toys) -> None:
    workspace = Workspace.open(toys.workspace)
    assert references(workspace).recipes == ()
    make(toys.engine())
    make(toys.engine(power=3))
    make(toys.engine())
    found = references(workspace)
    assert len(found.recipes) == 2
    assert found.artifacts == names(toys.engine()) | names(toys.engine(power=3))
    assert found.unknown == {}


def test_what_was_made_of_data_that_has_changed_since_is_known_by_its_run(toys: Toys, tmp_path: Path) -> None:
    file = tmp_path / "numbers.txt"
    toys.file = str(file)
    file.write_text("1")
    make(toys.engine())
    before = names(toys.engine())
    file.write_text("2")
    make(toys.engine())
    assert references(Workspace.open(toys.workspace)).artifacts == before | names(toys.engine())


def test_a_recipe_that_cannot_be_read_is_named(toys: Toys) -> None:
    made = make(toys.engine())
    (Path(toys.workspace) / made.folder.path("recipe.yaml")).write_text("steps: {a: {stage: none}}\nname: toy\n")
    found = references(Workspace.open(toys.workspace))
    assert list(found.unknown) == [str(made.folder.key)]
    assert "version" in found.unknown[str(made.folder.key)]
    shutil.rmtree(Path(toys.workspace, "runs"))
    assert references(Workspace.open(toys.workspace)).unknown == {}


def test_a_recorded_recipe_that_names_code_is_not_run(
    own_module: Callable[..., str], toys: Toys, tmp_path: Path
) -> None:
    own_module(PROPOSALS)
    dataset = {"kind": "drawn", "splits": {"train": 1}, "seed": 0, "size": [120, 160]}
    windows = {"stage": "propose", "images": "images", "splits": ["train"], "methods": ["their_parts:corners"]}
    steps = {"images": {"stage": "ingest", "dataset": dataset}, "windows": windows}
    workspace = Workspace.open(toys.workspace)
    engine = Engine(load_recipe(write_recipe(tmp_path / "own.yaml", steps)), workspace)
    made = start_run(engine)
    engine.run(LocalExecutor(), Silent())
    own_module(PROPOSALS)  # a process that has imported nothing
    found = references(workspace)
    told = "steps.windows.methods.0: their_parts:corners names code, which is run only if"
    assert told in found.unknown[str(made.key)]
    assert "their_parts" not in sys.modules
    gc = ("gc", "--workspace", toys.workspace, "--unreferenced", "--dry-run")
    assert told in sppnet(*gc).json["error"]
    assert sppnet(*gc, "--allow", "their_parts:corners").code == 0
    assert references(workspace).artifacts == names(engine)
