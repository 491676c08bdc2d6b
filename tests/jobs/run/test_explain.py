"""Why a step would run again, in words."""

from __future__ import annotations

from jobs.formatting import duration
from jobs.run.explain import explain_steps
from pipelines.engine.commits import Output
from tests.support.recorded_runs import make
from tests.support.toy_fixtures import Toys


def test_explain_names_the_fields_that_changed(toys: Toys) -> None:
    make(toys.engine())
    rows = explain_steps(toys.engine(power=3))
    assert [(row["step"], row["state"]) for row in rows] == [
        ("count", "complete"),
        ("raise", f"nothing of it is there: 4 units to make, about {duration(rows[1]['seconds'])} of work"),
    ]
    assert [row["changes"] for row in rows] == [[], ["config.power: was 2, is 3"]]


def test_explain_counts_what_is_missing(toys: Toys) -> None:
    make(toys.engine(wanted=[0]))
    rows = explain_steps(toys.engine())
    assert rows[1]["state"].startswith("3 of 4 units to make, about ")


def test_what_it_costs_is_what_units_like_them_took(toys: Toys) -> None:
    engine = toys.engine(wanted=[0, 1])
    assert [row["seconds"] for row in explain_steps(engine)] == [None, None]
    numbers, powers = (engine.workspace.artifact(step.spec.artifact) for step in engine.steps)
    engine.workspace.mark_version()
    for number in range(3):
        numbers.publish(f"all/{number:06d}", Output(b"[]", ".json", 1, 1), seconds=60.0)
    powers.describe(engine.steps[1].preimage)
    for number, seconds in ((0, 100.0), (1, 300.0)):
        powers.publish(f"all/{number:06d}", Output(b"{}", ".json", 1, 1), seconds)
    told = [(row["missing"], row["seconds"]) for row in explain_steps(toys.engine())]
    assert told == [(0, 0.0), (2, 400.0)]
    # Of another power nothing is there: what the nearest artifact's units took counts.
    assert (
        explain_steps(toys.engine(power=5))[1]["state"]
        == "nothing of it is there: 4 units to make, about 13 min 20 s of work"
    )
