"""A plan's totals, its budget, and its table."""

from __future__ import annotations

import pytest

from jobs.plan.corpus import Corpus, ImageSet
from jobs.plan.costs import Planner
from jobs.plan.table import check_budget, plan_fields, plan_table
from jobs.recipes import find_recipe
from pipelines.engine.recipe import Recipe, load_recipe
from sppnet.errors import ConfigError
from tests.support.plans import RATES


def test_totals_and_the_budget(voc07: Recipe) -> None:
    costs = Planner(voc07, Corpus({"train": ImageSet(482), "val": ImageSet(460)}), RATES).steps()
    fields = plan_fields(costs, workers=4, price=3.0)
    assert fields["worker_hours"] == pytest.approx(sum(cost.seconds for cost in costs) / 3600, abs=1e-4)
    assert fields["hours"] == pytest.approx(fields["worker_hours"] / 4, abs=1e-4)
    for cost in costs:
        assert sum(cost.parts.values()) == pytest.approx(cost.seconds)
    check_budget(fields, None)
    check_budget(fields, fields["cost"])
    with pytest.raises(ConfigError, match=r"more than the budget of 0\.01"):
        check_budget(fields, 0.01)


def test_every_stage_has_its_hours() -> None:
    costs = Planner(load_recipe(find_recipe("caltech101"), ()), Corpus({"all": ImageSet(9144)}), RATES).steps()
    assert all(float(hours) > 0 for hours in plan_table(costs, RATES).columns[-1].cells)
