from __future__ import annotations

import json

import pytest

from pipelines.engine.commits import Commit
from pipelines.engine.executor import UnitFailure
from pipelines.engine.work import build_stage
from pipelines.executors.local import LocalExecutor
from sppnet.errors import ConfigError
from tests.support.toy_fixtures import Toys
from tests.support.unit_list import run_units

UNITS = tuple(f"all/{i:06d}" for i in range(3))


def run(toys: Toys, **fields: object) -> list[Commit | UnitFailure]:
    toys.run(LocalExecutor(), wanted=[])  # what the units read; and the sum of no shards
    spec = toys.engine(**fields).steps[1].spec
    return list(run_units(LocalExecutor(), spec, build_stage(spec).phases()[0], UNITS))


def test_units_are_committed_in_order(toys: Toys) -> None:
    outcomes = run(toys, power=3)
    assert [outcome.unit for outcome in outcomes] == list(UNITS)
    assert all(isinstance(outcome, Commit) for outcome in outcomes)
    artifact = toys.powers(power=3)
    assert [artifact.commit(unit) for unit in UNITS] == outcomes
    assert json.loads(artifact.read("all/000001")) == {"4": 64, "5": 125, "6": 216, "7": 343}


def test_a_failing_unit_does_not_stop_the_others(toys: Toys) -> None:
    toys.marks.set("fail", UNITS[1], 1)
    first, failure, last = run(toys)
    assert failure == UnitFailure(UNITS[1], "ValueError: told to fail", 1)
    assert (first.unit, last.unit) == (UNITS[0], UNITS[2])
    assert toys.powers().committed() == {UNITS[0], UNITS[2], "sum/"}


def test_an_artifact_error_is_a_units_failure(toys: Toys) -> None:
    toys.marks.set("artifact", UNITS[0], 1)
    assert run(toys)[0] == UnitFailure(UNITS[0], "all/000000 is not there", 1, corrupt=True)


def test_a_config_error_ends_the_phase(toys: Toys) -> None:
    toys.marks.set("config", UNITS[1], 1)
    with pytest.raises(ConfigError, match=r"^all/000001 can never work$"):
        run(toys)
    assert [toys.marks.tries(unit) for unit in UNITS] == [1, 1, 0]
