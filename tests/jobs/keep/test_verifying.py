"""`sppnet verify` as it is told."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from jobs.keep import verifying
from jobs.keep.target import Target
from jobs.keep.verifying import run_verify
from pipelines.engine.workspace import Workspace
from pipelines.executors.local import LocalExecutor
from sppnet.errors import ArtifactError, ConfigError
from tests.support.damaging import data_path, flip, rewrite
from tests.support.recorded_runs import make
from tests.support.toy_fixtures import UNITS, Toys


def told(toys: Toys, **options: Any) -> tuple[list[str], dict[str, Any], str | None]:
    """The lines, the values, and the error of a command that looks through the whole workspace."""
    out, fields = io.StringIO(), {}
    error = None
    try:
        target = Target(Workspace.open(toys.workspace))
        given = {"deep": False, "repair": False, "address": None, **options}
        run_verify(target, Console(file=out, width=400), fields, **given)
    except ArtifactError as caught:
        error = str(caught)
    return out.getvalue().splitlines(), json.loads(json.dumps(fields)), error


def test_a_whole_workspace(toys: Toys) -> None:
    make(toys.engine())
    lines, fields, error = told(toys, deep=True)
    assert error is None
    assert (fields["artifacts"], fields["units"], fields["damaged"]) == (2, 7, [])
    assert lines == [f"2 artifacts, 7 units, {fields['bytes']} B: data read, nothing damaged"]


def test_damage_is_listed_by_commit_and_data_and_repair_mends_it(toys: Toys) -> None:
    make(toys.engine())
    powers = toys.powers()
    data = data_path(powers, UNITS[1])
    flip(data)
    assert told(toys)[2] is None, "by name and size it is whole"
    lines, fields, error = told(toys, deep=True)
    commit = powers.commit_name(UNITS[1])
    assert error is not None
    assert error.startswith(f"{toys.workspace}: 1 damaged: {commit}: {powers.name}/all/{data.name} is not what was")
    assert error.endswith("; sppnet verify --repair takes away what the next run is to make again")
    assert lines[0].startswith(f"checksum: {commit}: ")
    assert [(one["commit"], one["data"]) for one in fields["damaged"]] == [(commit, f"{powers.name}/all/{data.name}")]
    lines, fields, error = told(toys, deep=True, repair=True)
    assert (error, fields["taken"]) == (None, [commit])
    assert lines[-1] == "repair: 1 commit taken away; run again to make what they stood for"
    make(toys.engine())
    assert told(toys, deep=True)[1]["damaged"] == []


def test_what_follows_is_told_before_it_is_taken(toys: Toys) -> None:
    make(toys.engine())
    powers = toys.powers()
    rewrite(powers, UNITS[1], unit=UNITS[0])
    lines, fields, error = told(toys)
    assert error is not None
    assert fields["followers"] == [f"{powers.name}/sum/0_1_2"]
    assert f"{powers.name}: 1 unit made from what is damaged would not come out alike" in lines
    assert "sum/0_1_2" in powers.committed()
    told(toys, repair=True)
    assert powers.committed() == {UNITS[0], UNITS[2]}


def test_what_no_repair_mends_stays_damaged(toys: Toys) -> None:
    make(toys.engine())
    numbers, _ = (step.spec.artifact for step in toys.engine().steps)
    for entry in Workspace.open(toys.workspace).store.list(numbers):
        Path(toys.workspace, entry.name).unlink()
    Workspace.open(toys.workspace).store.remove_folder(numbers)
    error = told(toys, repair=True)[2]
    assert error is not None
    assert f"is made from {numbers}, which is gone" in error


def test_repair_needs_a_workspace_that_can_be_written(toys: Toys, monkeypatch: pytest.MonkeyPatch) -> None:
    make(toys.engine())
    data_path(toys.powers(), UNITS[1]).unlink()

    def refuse(self: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(ConfigError, match=r"^workspace can't be written at .*: Permission denied; check its rights"):
        told(toys, repair=True)
    assert UNITS[1] in toys.powers().committed()


def test_a_run_whose_recipe_is_unreadable_is_told(toys: Toys) -> None:
    made = make(toys.engine())
    (Path(toys.workspace) / made.folder.path("recipe.yaml")).write_text("{")
    lines, _, error = told(toys)
    assert error is None
    assert lines[-1].startswith(f"run {made.folder.key}: its accounts are not checked: ")


def test_a_long_reading_says_how_far_it_is(toys: Toys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifying, "_LINE_EVERY_SECONDS", -1.0)
    make(toys.engine())
    lines = told(toys, deep=True)[0]
    sizes = [sum(commit.size for commit in artifact.commits(artifact.committed())) for artifact in artifacts(toys)]
    assert sorted(line.split(" read, ")[0] for line in lines[:-1]) == sorted(f"{s} B of {s} B" for s in sizes)
    assert all(line.endswith(" 0 s left") for line in lines[:-1])


def test_what_follows_in_artifacts_of_no_known_run_is_told(toys: Toys) -> None:
    make(toys.engine())
    toys.run(LocalExecutor(), power=3)
    numbers = artifacts(toys)[0]
    rewrite(numbers, UNITS[1], unit=UNITS[0])
    lines, _, _ = told(toys)
    line = "was made from such units and is of no run that is known; see whether it is to go"
    assert f"{toys.powers(power=3).name}: {line}" in lines


def artifacts(toys: Toys) -> list[Any]:
    workspace = Workspace.open(toys.workspace)
    return [workspace.artifact(step.spec.artifact) for step in toys.engine().steps]
