"""Rates are measured where nobody gives them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jobs.plan.corpus import Corpus, ImageSet
from jobs.plan.measure import choose_rates, measure_rates
from jobs.plan.table import make_plan
from pipelines.engine.recipe import Recipe
from sppnet.errors import ConfigError
from tests.support.plans import RATES


def test_rates_that_are_given_are_not_measured() -> None:
    assert choose_rates(1.2e11, None, ()) == RATES
    assert choose_rates(1e9, 2e9, ["macs=1.2e11", "pooling=1e12"]) == replace(RATES, read=2e9, pooling=1e12)
    assert choose_rates(None, None, ["macs=1.2e11"]) == RATES
    with pytest.raises(ConfigError, match="no rate 'speed'"):
        choose_rates(None, None, ["speed=1"])


def test_measured_rates_are_of_this_machine(voc07: Recipe) -> None:
    """The two that are timed differ from any default, and all else stays; given rates are not measured again."""
    found = measure_rates(seconds=0.01)
    assert found.macs > 1e8
    assert found.pooling > 1e6
    assert replace(found, macs=1.2e11, pooling=RATES.pooling, where="given") == RATES
    corpus = Corpus({"train": ImageSet(1), "val": ImageSet(1)})
    assert make_plan(voc07, corpus, RATES)[1] is RATES
