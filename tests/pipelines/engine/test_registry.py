from __future__ import annotations

import pytest

from pipelines.engine.registry import STAGES, stage_names, stage_type
from pipelines.engine.stage import Stage


def test_stages_are_in_the_order_of_the_pipeline() -> None:
    names = stage_names()
    order = ["ingest", "propose", "extract", "finetune", "train-svms", "train-regressors", "score", "evaluate"]
    assert [name for name in names if name in order] == order


@pytest.mark.parametrize("name", STAGES)
def test_a_name_leads_to_its_stage(name: str) -> None:
    found = stage_type(name)
    assert issubclass(found, Stage)
    assert found.name == name
    assert found.__module__ == f"pipelines.stages.{name.replace('-', '_')}"


def test_an_unknown_name_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="nonsense"):
        stage_type("nonsense")
