"""Rates are replaced by name, and each of them counts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jobs.plan.corpus import ImageSet
from jobs.plan.rates import NAMES, Rates, read_rates
from jobs.recipes import find_recipe
from pipelines.engine.recipe import Recipe, load_recipe
from sppnet.errors import ConfigError
from tests.support.measured_runs import PHOTOGRAPHS, TINY
from tests.support.plans import RATES, steps


def test_rates_are_replaced_by_name() -> None:
    found = read_rates(["macs=2e14", "pooling=1e12", "pooling=2e12"], RATES)
    assert found == replace(RATES, macs=2e14, pooling=2e12)
    assert read_rates([], RATES) == RATES


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("poling=1", "no rate 'poling'; did you mean 'pooling'"),
        ("zzz=1", "no rate 'zzz'; there are: macs, read"),
        ("where=1", "no rate 'where'"),
        ("macs", "positive number, such as macs=1e12"),
        ("macs=0", "positive number"),
        ("macs=nan", "positive number"),
        ("macs=inf", "positive number"),
    ],
)
def test_rates_that_can_not_be_read(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_rates([text], RATES)


def test_every_rate_is_used(demo: Recipe) -> None:
    """A rate that changes nothing is a constant without a formula."""
    claims = load_recipe(find_recipe("claims-detection"), ["eb.edge_boxes={model: edges.safetensors}"])
    caltech = load_recipe(find_recipe("caltech101"), [])
    images = PHOTOGRAPHS | TINY | {"images.val": ImageSet(460)}  # one split whose bytes are not known

    def costs(rates: Rates) -> list[tuple[float, float]]:
        found = [*steps(claims, rates, **images).values(), *steps(demo, rates, train=400, val=120).values()]
        found += steps(caltech, rates, all=100).values()
        return [(cost.seconds, cost.written) for cost in found]

    usual = costs(RATES)
    for name in NAMES:
        assert costs(replace(RATES, **{name: getattr(RATES, name) / 2})) != usual, name
