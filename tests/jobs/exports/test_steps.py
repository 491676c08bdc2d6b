"""Steps are found by name among those that make what is wanted."""

from __future__ import annotations

import pytest

from jobs.exports.steps import step_making
from sppnet.errors import ConfigError
from tests.support.toy_fixtures import Toys


def test_a_step_is_found_by_name(toys: Toys) -> None:
    engine = toys.engine()
    assert step_making(engine, "raise", ("powers", "heads")) is engine.steps[1]


@pytest.mark.parametrize(
    ("name", "kinds", "message"),
    [
        ("count", ("powers", "heads"), "step 'count' makes no powers or heads; these do: raise"),
        ("rise", ("powers",), "step 'rise' makes no powers; these do: raise"),
        ("raise", ("heads",), "step 'raise' makes no heads; these do: none of this recipe"),
    ],
)
def test_another_step_is_told_with_those_that_make_it(
    toys: Toys, name: str, kinds: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        step_making(toys.engine(), name, kinds)
