"""What a workspace holds of a recipe, and what failed."""

from __future__ import annotations

import pytest

from jobs.run.history import folder_of
from jobs.run.status import last_failures, status_table
from sppnet.errors import IncompleteError
from tests.support.damaging import data_path
from tests.support.recorded_runs import make
from tests.support.toy_fixtures import Toys


def failures_of(toys: Toys, **powers: object) -> dict[str, dict[str, str]]:
    folder = folder_of(toys.engine(**powers))
    return last_failures(folder.events() if folder else [])


def test_before_the_first_run_nothing_is_known(toys: Toys) -> None:
    table, fields = status_table(toys.engine())
    assert (fields["run"], fields["complete"]) == ("toy", False)
    assert [(row["step"], row["committed"], row["total"]) for row in fields["steps"]] == [
        ("count", 0, 3),
        ("raise", 0, 4),
    ]
    assert list(table.columns[2].cells) == ["1 CPU", "1 CPU"]
    assert list(table.columns[3].cells) == ["0/3", "0/4"]
    assert failures_of(toys) == {}


def test_a_complete_run(toys: Toys) -> None:
    make(toys.engine(refuse=5, max_quarantined=1.0))
    table, fields = status_table(toys.engine(refuse=5, max_quarantined=1.0))
    assert fields["complete"]
    row = fields["steps"][1]
    assert (row["keys"], row["done"], row["quarantined"], row["reasons"]) == (12, 9, 3, {"refused": 3})
    assert row["failures"] == {}
    assert [list(column.cells)[1] for column in table.columns[3:7]] == ["4/4", "12", "9", "3 (3 refused)"]


def test_failures_are_those_of_this_runs_newest_attempt(toys: Toys) -> None:
    toys.marks.set("fail", "all/000001", 1)
    with pytest.raises(IncompleteError):
        make(toys.engine())
    failed = {"all/000001": "ValueError: told to fail"}
    assert failures_of(toys) == {"raise": failed}
    assert failures_of(toys, power=3) == {}, "another run's"
    table, fields = status_table(toys.engine())
    assert fields["steps"][1]["failures"] == failed
    assert list(table.columns[-1].cells)[1] == "all/000001: ValueError: told to fail"
    make(toys.engine())
    assert failures_of(toys) == {}


def test_damaged_units_are_counted_and_named(toys: Toys) -> None:
    make(toys.engine())
    powers = toys.powers()
    data_path(powers, "all/000001").unlink()
    table, fields = status_table(toys.engine())
    row = fields["steps"][1]
    assert (row["committed"], row["keys"], fields["complete"]) == (4, None, False)
    (line,) = row["damaged"]
    assert line.startswith(f"{powers.name}/_commits/all/000001.json: {powers.name}/all/000001-")
    assert line.endswith(" is missing")
    assert list(table.columns[7].cells) == ["", "1"]
