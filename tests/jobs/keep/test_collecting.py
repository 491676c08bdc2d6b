"""`sppnet gc` as it is told."""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from jobs.keep import collecting
from jobs.keep.collecting import parse_age, run_gc
from jobs.keep.target import Target
from pipelines.engine.workspace import Workspace
from sppnet.errors import ConfigError
from tests.support.damaging import age, plant
from tests.support.recorded_runs import make
from tests.support.toy_fixtures import Toys

HOUR = 3600.0


@pytest.fixture(autouse=True)
def no_scratch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others' tests run on this machine."""
    monkeypatch.setattr("pipelines.keeping.garbage.dead_scratch", list)


def told(toys: Toys, **options: Any) -> tuple[list[str], dict[str, Any]]:
    out, fields = io.StringIO(), {}
    target = Target(Workspace.open(toys.workspace))
    run_gc(target, Console(file=out, width=200), fields, HOUR, **{"dry_run": False, "unreferenced": False, **options})
    return out.getvalue().splitlines(), fields


@pytest.mark.parametrize(("text", "seconds"), [("1h", HOUR), ("36h", 36 * HOUR), ("7d", 7 * 24 * HOUR), ("1.5h", 5400)])
def test_ages(text: str, seconds: float) -> None:
    assert parse_age(text) == seconds


@pytest.mark.parametrize("text", ["", "0h", "0.9h", "30m", "1", "-2h", "h", "1 h", "infd", "1e3h"])
def test_ages_that_would_take_what_a_run_writes(text: str) -> None:
    with pytest.raises(ConfigError, match="no less than 1h"):
        parse_age(text)


def test_nothing_is_taken_where_there_is_nothing(toys: Toys) -> None:
    make(toys.engine())
    lines, fields = told(toys)
    assert lines == ["gc: nothing taken, 0 B"]
    assert fields == {"dry_run": False, "bytes": 0, "taken": []}


def test_a_dry_run_tells_the_same_and_takes_nothing(toys: Toys) -> None:
    make(toys.engine())
    left = plant(Path(toys.workspace), f"{toys.powers().name}/all/000000-0123456789ab.json", b"x" * 2000)
    name = f"{toys.powers().name}/all/000000-0123456789ab.json"
    lines, dry = told(toys, dry_run=True)
    assert lines[-1] == "gc: 1 data would be taken, 2.00 kB"
    assert left.exists()
    lines, fields = told(toys)
    assert lines[-1] == "gc: 1 data taken, 2.00 kB"
    assert fields["taken"] == dry["taken"] == [{"kind": "data", "name": name, "bytes": 2000}]
    assert not left.exists()


def test_a_clock_that_is_ahead_makes_nothing_old(toys: Toys, monkeypatch: pytest.MonkeyPatch) -> None:
    make(toys.engine())
    left = plant(Path(toys.workspace), f"{toys.powers().name}/all/000000-0123456789ab.json", old=False)
    now = time.time()
    monkeypatch.setattr(collecting.time, "time", lambda: now + 100 * HOUR)
    assert told(toys)[1]["taken"] == []
    assert left.exists()


def test_artifacts_of_no_run_go_if_asked_and_old(toys: Toys) -> None:
    make(toys.engine())
    make(toys.engine(power=3))
    workspace = Workspace.open(toys.workspace)
    numbers, second = (step.spec.artifact for step in toys.engine(power=3).steps)
    for key in sorted(Path(toys.workspace, "runs", "toy").iterdir()):
        if (key / "recipe.yaml").is_file() and "power: 3" in (key / "recipe.yaml").read_text():
            for path in sorted(key.rglob("*"), reverse=True):
                path.unlink() if path.is_file() else path.rmdir()
    assert told(toys, unreferenced=True)[1]["taken"] == [], "it is young"
    for path in Path(toys.workspace, second).rglob("*"):
        age(path)
    assert told(toys)[1]["taken"] == [], "it was not asked for"
    _, fields = told(toys, unreferenced=True)
    assert [(one["kind"], one["name"]) for one in fields["taken"]] == [("artifact", second)]
    assert workspace.artifact_names() == sorted([numbers, toys.powers().name])


def test_artifacts_are_safe_where_another_does_not_say_what_it_was_made_from(toys: Toys) -> None:
    make(toys.engine())
    Path(toys.workspace, toys.powers().name, "artifact.json").write_text("{")
    with pytest.raises(ConfigError, match=rf"^--unreferenced: what {toys.powers().name} was made from can't be told"):
        told(toys, unreferenced=True)


def test_artifacts_are_safe_where_a_run_is_unreadable(toys: Toys) -> None:
    made = make(toys.engine())
    (Path(toys.workspace) / made.folder.path("recipe.yaml")).write_text("{")
    with pytest.raises(ConfigError, match=rf"^--unreferenced: what run {made.folder.key} refers to can't be told"):
        told(toys, unreferenced=True)
    assert len(Workspace.open(toys.workspace).artifact_names()) == 2
