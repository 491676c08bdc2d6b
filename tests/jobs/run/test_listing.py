"""The runs of a workspace with what became of them."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from jobs.run.history import report_folder, run_fingerprint
from jobs.run.listing import listed_runs, runs_table
from jobs.run.results import RunResult
from jobs.run.summary import RunSummary, write_summary
from sppnet.errors import ConfigError, IncompleteError
from tests.support.recorded_runs import make
from tests.support.toy_fixtures import Toys


def test_every_run_is_listed_with_its_state(toys: Toys) -> None:
    make(toys.engine())
    toys.marks.set("fail", "all/000001", 9)
    with pytest.raises(IncompleteError):
        make(toys.engine(power=3))
    report_folder(toys.engine(power=4))
    running = report_folder(toys.engine(power=5))
    write_summary(running, RunSummary(start=1.0))
    found = listed_runs(toys.engine().workspace)
    states = {row.key.fingerprint: row.state for row in found}
    engines = {"done": toys.engine(), "failed (3)": toys.engine(power=3)}
    engines |= {"not run": toys.engine(power=4), "running": toys.engine(power=5)}
    assert states == {run_fingerprint(engine): state for state, engine in engines.items()}
    (failed,) = [row.to_json() for row in found if row.state == "failed (3)"]
    assert failed["exit_code"] == 3
    assert failed["error"].startswith("step raise: ")
    assert failed["name"] == "toy"


def test_the_table_shows_the_figure_that_tells_most(toys: Toys) -> None:
    folder = report_folder(toys.engine())
    result = RunResult(0.583, 0.6, {}, [], {})
    write_summary(folder, RunSummary(start=1.0, end=700.0, seconds=605.0, exit_code=0, result=result))
    console = Console(file=io.StringIO(), width=160)
    console.print(runs_table(listed_runs(toys.engine().workspace, "toy")))
    (line,) = [line for line in console.file.getvalue().splitlines() if "toy" in line]
    assert [cell.strip() for cell in line.strip("│").split("│")] == [
        "toy",
        folder.key.when,
        folder.key.fingerprint,
        "done",
        "10 min 05 s",
        "VOC07 mAP 58.3 %",
    ]


def test_an_empty_workspace_and_an_unknown_name(toys: Toys) -> None:
    workspace = toys.engine().workspace
    assert listed_runs(workspace) == []
    make(toys.engine())
    with pytest.raises(ConfigError, match=r"no run 'toi' in .*; did you mean toy"):
        listed_runs(workspace, "toi")
