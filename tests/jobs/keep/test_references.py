"""What runs refer to: their recipes' steps, and what they say they have made."""

from __future__ import annotations

import shutil
from pathlib import Path

from jobs.keep.references import references
from pipelines.engine.workspace import Workspace
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
