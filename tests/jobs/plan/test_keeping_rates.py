"""The rates by which a run decides what it stores are a workspace's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from jobs.plan import keeping_rates
from jobs.plan.keeping import decide_keeping
from jobs.plan.keeping_rates import decide_here
from jobs.plan.rates import Rates
from jobs.recipes import find_recipe
from pipelines.engine.recipe import load_recipe
from pipelines.engine.store import open_store

CORE = Rates(1.2e11)


def test_a_workspace_decides_alike_every_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, recipe = open_store(str(tmp_path)), load_recipe(find_recipe("voc07"), ["maps.keep=auto"])
    measured = [replace(CORE, macs=1.0), CORE]
    monkeypatch.setattr(keeping_rates, "measure_rates", measured.pop)
    undecided, why = decide_here(recipe, store, measure=False)
    assert (undecided, why) == (recipe, [])
    first = decide_here(recipe, store, measure=True)
    assert first == decide_keeping(recipe, CORE)
    assert decide_here(recipe, store, measure=True) == decide_here(recipe, store, measure=False) == first
    assert len(measured) == 1
