"""What a person means by a word: a workspace or a recipe."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.keep.target import Target, find_target, open_workspace
from pipelines.engine.workspace import Workspace
from sppnet.errors import ArtifactError, ConfigError
from tests.support.recorded_runs import make
from tests.support.toy_fixtures import Toys


def target(toys: Toys, what: str | None) -> Target:
    return find_target(what, toys.workspace, lambda recipe: toys.engine(power=3, fresh=()))


def test_a_workspace_has_all_its_artifacts_and_runs(toys: Toys) -> None:
    make(toys.engine())
    make(toys.engine(power=3))
    found = target(toys, None)
    assert found.names == Workspace.open(toys.workspace).artifact_names()
    assert len(found.recipes) == len(found.every_recipe) == 2
    assert target(toys, toys.workspace).names == found.names


@pytest.mark.parametrize("what", ["mine.yaml", "s3://bucket/mine.yml", "demo"])
def test_a_recipe_has_its_own_and_those_of_others_that_follow(toys: Toys, what: str) -> None:
    make(toys.engine())
    make(toys.engine(power=3))
    found = target(toys, what)
    assert found.names == sorted(step.spec.artifact for step in toys.engine(power=3).steps)
    assert len(found.recipes) == 1
    assert len(found.every_recipe) == 3


def test_a_place_where_nothing_was_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"^no workspace at {tmp_path}/none: nothing was run there$"):
        open_workspace(str(tmp_path / "none"))
    Workspace.open(str(tmp_path)).mark_version()
    assert Target(open_workspace(str(tmp_path))).names == []


def test_a_workspace_of_another_version(tmp_path: Path) -> None:
    (tmp_path / "workspace.json").write_text('{"format": 1}')
    with pytest.raises(ArtifactError, match="has format 1, this sppnet reads format 2"):
        open_workspace(str(tmp_path))
