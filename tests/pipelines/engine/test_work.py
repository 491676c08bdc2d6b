from __future__ import annotations

import json

import pytest

from pipelines.engine.work import build_stage, cached_stage, run_unit
from pipelines.executors.local import LocalExecutor
from sppnet.errors import ConfigError
from tests.support.toy_fixtures import Toys
from tests.support.toy_stages import Numbers, Powers


def test_a_stage_is_built_from_names_alone(toys: Toys) -> None:
    count, powers = toys.engine(power=3).steps
    assert isinstance(build_stage(count.spec), Numbers)
    stage = build_stage(powers.spec)
    assert isinstance(stage, Powers)
    assert stage.config.power == json.loads(powers.spec.config)["power"] == 3
    assert stage.artifact.name == powers.spec.artifact


def test_a_process_keeps_the_stages_it_has_built(toys: Toys) -> None:
    count, powers = (step.spec for step in toys.engine().steps)
    assert cached_stage(count) is cached_stage(count)
    assert cached_stage(count) is not cached_stage(powers)
    assert build_stage(count) is not build_stage(count)


def test_a_unit_is_run_and_committed(toys: Toys) -> None:
    toys.run(LocalExecutor(), wanted=[])  # what the unit reads; and the sum of no shards
    commit = run_unit(toys.engine(refuse=2).steps[1].spec, "all/000001")
    assert commit == toys.powers(refuse=2).commit("all/000001")
    assert (commit.rows, commit.done, [entry.key for entry in commit.quarantined]) == (2, 2, ["4", "6"])
    assert json.loads(toys.powers(refuse=2).read("all/000001")) == {"5": 25, "7": 49}
    assert commit.seconds >= 0


def test_what_a_unit_raises_comes_out_and_nothing_is_committed(toys: Toys) -> None:
    toys.run(LocalExecutor(), wanted=[])
    toys.marks.set("config", "all/000000", 1)
    with pytest.raises(ConfigError, match="all/000000 can never work"):
        run_unit(toys.engine().steps[1].spec, "all/000000")
    assert toys.powers().committed() == {"sum/"}
