"""`sppnet retry` and `sppnet rm` as they are told."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from jobs.keep.removing import run_retry, run_rm
from jobs.keep.target import Target
from pipelines.engine.workspace import Workspace
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
