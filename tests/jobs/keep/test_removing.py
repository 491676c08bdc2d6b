"""`sppnet retry` and `sppnet rm` as they are told."""

from __future__ import annotations

import io
import os
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from jobs.keep.removing import run_retry, run_rm
from jobs.keep.target import Target
from jobs.run.going import going_on
from jobs.run.history import RunFolder
from pipelines.engine.workspace import Workspace
from pipelines.keeping.garbage import find_garbage
from sppnet.errors import ConfigError
from tests.support.recorded_runs import make
from tests.support.toy_fixtures import UNITS, Toys

FIELDS = {"refuse": 5, "max_quarantined": 1}


def told(toys: Toys, run: Any, *arguments: Any, **options: Any) -> tuple[list[str], dict[str, Any]]:
    out, fields = io.StringIO(), {}
    target = Target(Workspace.open(toys.workspace))
    run(target, Console(file=out, width=200), fields, *arguments, **options)
    return out.getvalue().splitlines(), fields


def test_retry_tells_what_it_takes_away(toys: Toys) -> None:
    make(toys.engine(**FIELDS))
    powers = toys.powers(**FIELDS)
    taken = [f"{powers.name}/{unit}" for unit in (*UNITS[:3], "sum/0_1_2")]
    lines, fields = told(toys, run_retry, "refused", dry_run=True)
    assert fields == {"reasons": {"refused": 3}, "dry_run": True, "taken": taken}
    assert lines[-1] == "retry: 3 refused: 4 units would be taken away"
    assert len(powers.committed()) == 4
    lines, fields = told(toys, run_retry, None, dry_run=False)
    assert fields["taken"] == taken
    assert lines[-1] == "retry: 3 refused: 4 units taken away; run again to try them"
    assert powers.committed() == set()
    assert told(toys, run_retry, None, dry_run=False)[0] == ["retry: nothing is quarantined"]


def test_rm_says_first_what_goes_with_it(toys: Toys) -> None:
    make(toys.engine())
    workspace = Workspace.open(toys.workspace)
    numbers, powers = (step.spec.artifact for step in toys.engine().steps)
    with pytest.raises(
        ConfigError, match=rf"^rm: {numbers} and 1 made from it would be removed; give --yes to remove$"
    ):
        told(toys, run_rm, numbers, yes=False)
    assert len(workspace.artifact_names()) == 2
    size = sum(entry.size for name in (numbers, powers) for entry in workspace.store.list(name))
    lines, fields = told(toys, run_rm, numbers, yes=True)
    assert [(row["artifact"], row["units"]) for row in fields["artifacts"]] == [(powers, 4), (numbers, 3)]
    assert (fields["removed"], fields["bytes"]) == (True, size)
    assert lines[-1].startswith("rm: 2 artifacts removed, ")
    assert workspace.artifact_names() == []
    make(toys.engine())
    told(toys, run_rm, powers, yes=True)
    assert workspace.artifact_names() == [numbers]


@pytest.mark.parametrize("name", ["powers", "..", "runs", "powers-0123456789ab/../runs", ""])
def test_rm_takes_names_of_artifacts_only(toys: Toys, name: str) -> None:
    made = make(toys.engine())
    with pytest.raises(ConfigError, match=r"^no artifact '.*' in .*; (did you mean|there are: )"):
        told(toys, run_rm, name, yes=True)
    assert Path(toys.workspace, made.folder.path("recipe.yaml")).is_file()


def test_rm_leaves_what_a_run_uses_that_goes_on(toys: Toys) -> None:
    engine = toys.engine()
    workspace, key = Workspace.open(toys.workspace), make(engine).folder.key
    numbers, powers = (step.spec.artifact for step in engine.steps)
    other = make(toys.engine(power=3)).folder
    cubes = toys.powers(power=3).name
    with going_on(RunFolder(workspace.store, key), engine.steps):
        with pytest.raises(ConfigError, match=rf"^rm: run {key} on .* goes on and uses {powers}; end it.*--force"):
            told(toys, run_rm, powers, yes=True)
        with pytest.raises(ConfigError, match=rf"goes on and uses {powers}, {numbers}; "):
            told(toys, run_rm, numbers, yes=True)
        told(toys, run_rm, cubes, yes=True)  # only the other run's
        assert workspace.artifact_names() == sorted([numbers, powers])
    with going_on(other, toys.engine(power=3).steps):  # it reads them
        with pytest.raises(ConfigError, match=rf"run {other.key} .* uses {numbers};"):
            told(toys, run_rm, numbers, yes=True)
        told(toys, run_rm, numbers, yes=True, force=True)
    assert workspace.artifact_names() == []


def test_the_word_of_a_killed_driver_counts_five_minutes_and_gc_takes_it(toys: Toys) -> None:
    engine = toys.engine()
    folder = make(engine).folder
    store, numbers = folder.store, engine.steps[0].spec.artifact
    with going_on(folder, engine.steps):
        (entry,) = (each for each in store.list(folder.path("")) if "/going-" in each.name)
        word = store.read(entry.name)
    assert not any("/going-" in each.name for each in store.list(folder.path("")))
    store.put(entry.name, word)  # killed: nobody took it away
    left = Path(toys.workspace, entry.name)
    os.utime(left, (time.time() - 290, time.time() - 290))
    with pytest.raises(ConfigError, match="goes on"):
        told(toys, run_rm, numbers, yes=True)
    os.utime(left, (time.time() - 310, time.time() - 310))
    told(toys, run_rm, numbers, yes=True)
    found = find_garbage(Workspace.open(toys.workspace), time.time() - 300)
    (garbage,) = (one for one in found if one.kind == "probe")
    assert garbage.name == entry.name
    garbage.take()
    assert not left.exists()
