"""Why a step would run again, in words."""

from __future__ import annotations

from jobs.run.explain import explain_steps
from tests.support.recorded_runs import make
from tests.support.toy_fixtures import Toys


def test_explain_names_the_fields_that_changed(toys: Toys) -> None:
    make(toys.engine())
    rows = explain_steps(toys.engine(power=3))
    assert [(row["step"], row["state"]) for row in rows] == [
        ("count", "complete"),
        ("raise", "nothing of it is there: 4 units to make"),
    ]
    assert [row["changes"] for row in rows] == [[], ["config.power: was 2, is 3"]]


def test_explain_counts_what_is_missing(toys: Toys) -> None:
    make(toys.engine(wanted=[0]))
    rows = explain_steps(toys.engine())
    assert rows[1]["state"] == "3 of 4 units to make"
