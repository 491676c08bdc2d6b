from __future__ import annotations

import pytest
from pydantic import ValidationError

from pipelines.engine.stage import COVERAGE, RUNTIME, Input, require_subset
from pipelines.engine.work import build_stage
from sppnet.errors import ConfigError
from tests.support.toy_fixtures import Toys
from tests.support.toy_stages import NumbersConfig, PowersConfig


def test_every_field_has_one_role() -> None:
    assert PowersConfig.fields_with(COVERAGE) == {"shards"}
    assert PowersConfig.fields_with(RUNTIME) == {"marks", "pause", "cpus", "gpus", "deadline", "max_quarantined"}
    assert PowersConfig.input_fields() == {"numbers": Input(("numbers", "powers"))}


def test_what_changes_the_result_is_the_rest() -> None:
    config = PowersConfig(stage="powers", numbers="count", power=3, shards=(0, 4), pause=1.5)
    assert config.semantic() == {"power": 3, "refuse": 0}
    assert config.semantic() == config.model_copy(update={"numbers": "other", "shards": (1,), "cpus": 4}).semantic()
    assert NumbersConfig(stage="numbers").semantic() == {"shards": 3, "size": 4}


def test_inputs_are_told_by_field() -> None:
    config = PowersConfig(stage="powers", numbers="count")
    assert config.references() == {"numbers": ("count",)}
    assert config.model_copy(update={"numbers": None}).references() == {"numbers": ()}
    assert config.model_copy(update={"numbers": ["one", "two"]}).references() == {"numbers": ("one", "two")}


def test_configs_are_frozen_and_refuse_unknown_keys() -> None:
    config = NumbersConfig(stage="numbers")
    with pytest.raises(ValidationError, match="frozen"):
        config.size = 5
    with pytest.raises(ValidationError, match="sizes"):
        NumbersConfig(stage="numbers", sizes=5)
    with pytest.raises(ValidationError, match="max_quarantined"):
        NumbersConfig(stage="numbers", max_quarantined=1.5)


def test_a_stage_knows_its_artifact_and_its_inputs(toys: Toys) -> None:
    count, powers = (build_stage(step.spec) for step in toys.engine().steps)
    assert powers.input("numbers").name == powers.inputs("numbers")[0].name == count.artifact.name
    assert powers.optional_input("numbers") is powers.input("numbers")
    assert powers.optional_input("nothing") is None
    assert (count.artifact.kind, powers.artifact.kind) == ("numbers", "powers")
    assert [phase.name for phase in powers.phases()] == ["raise", "sum"]


def test_wanted_values_must_be_offered() -> None:
    require_subset((480, 688), (480, 576, 688), "maps.scales", "scale")
    with pytest.raises(ConfigError, match=r"^maps\.scales: scale 500 is not among those of its input: 480, 576$"):
        require_subset((480, 500, 501), (480, 576), "maps.scales", "scale")
