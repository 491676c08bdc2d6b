"""A plan for people and programs: the table of `sppnet plan`, its totals, and the budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table

from jobs.plan.corpus import Corpus
from jobs.plan.costs import Planner, StepCost
from jobs.plan.measure import measure_rates
from jobs.plan.rates import Rates
from pipelines.engine.recipe import Recipe
from sppnet.errors import ConfigError

_HOUR = 3600.0


def make_plan(recipe: Recipe, corpus: Corpus, rates: Rates | None = None) -> tuple[list[StepCost], Rates]:
    """Work out every step's cost, at rates that are given or measured here."""
    rates = measure_rates() if rates is None else rates
    return Planner(recipe, corpus, rates).steps(), rates


def plan_fields(costs: Sequence[StepCost], workers: int, price: float) -> dict[str, Any]:
    """Return the plan as plain values: steps, and totals in worker hours, wall hours and money."""
    hours = sum(cost.seconds for cost in costs) / _HOUR
    return {
        "steps": [asdict(cost) for cost in costs],
        "worker_hours": round(hours, 4),
        "hours": round(hours / workers, 4),
        "cost": round(hours * price, 2),
        "bytes": sum(cost.written for cost in costs),
    }


def plan_table(costs: Sequence[StepCost], rates: Rates) -> Table:
    """Make a table of one row a step."""
    table = Table(
        "step",
        "stage",
        "asks for",
        "units",
        "images",
        "GMAC",
        "reads",
        "stores",
        "memory",
        "worker hours",
        title=f"rates: {rates.where}",
    )
    for cost in costs:
        cells = (
            _count(cost.units),
            _count(cost.images),
            _count(cost.macs / 1e9),
            _bytes(cost.read),
            _bytes(cost.written),
            _bytes(cost.memory),
        )
        hours = f"{cost.seconds / _HOUR:.3g}" if cost.seconds else ""
        table.add_row(cost.step, cost.stage, cost.asks_for, *cells, hours)
    return table


def check_budget(fields: Mapping[str, Any], budget: float | None) -> None:
    """Raise `ConfigError` where a plan costs more than its budget."""
    if budget is not None and fields["cost"] > budget:
        raise ConfigError(f"the plan costs {fields['cost']:.2f}, more than the budget of {budget:.2f}")


def _count(value: float) -> str:
    return f"{value:,.0f}" if value else ""


def _bytes(value: float) -> str:
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value / 1e3:.3g} kB" if value else ""
