"""docs/paper.md names modules, functions, recipes and stages that are there."""

from __future__ import annotations

import importlib
import re

import pytest

from jobs.recipes import recipe_names
from pipelines.engine.registry import stage_names
from tests.support.source_tree import ROOT

PAGE = (ROOT / "docs" / "paper.md").read_text()
CODE = sorted(set(re.findall(r"`((?:sppnet|pipelines)(?:\.\w+)+)`", PAGE)))


@pytest.mark.parametrize("name", CODE)
def test_code_that_is_named_is_there(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        assert hasattr(importlib.import_module(module), attribute)


def test_stages_and_recipes_that_are_named_are_there() -> None:
    assert len(CODE) > 20
    for found in re.findall(r"stages? ((?:`[a-z-]+`(?:, )?)+)", PAGE):
        assert set(re.findall(r"`([a-z-]+)`", found)) <= set(stage_names())
    last_cells = [line.split("|")[-2] for line in PAGE.split("## Equations")[0].splitlines() if line.startswith("| ")]
    named = {name for cell in last_cells for name in re.findall(r"`((?:voc07|claims|det|caltech101)[\w-]*)`", cell)}
    assert len(named) > 10
    assert named <= set(recipe_names())
