"""Objects of an own data set: numpy's values are as good as Python's, and what isn't finite or whole is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from pipelines.artifacts.annotations import ObjectAnnotation
from pipelines.datasets.own_objects import object_of
from sppnet.errors import DataError

WHOLE = (0.0, 0.0, 40.0, 30.0)


def test_numpys_values_are_taken() -> None:
    given = {"category": "cat", "box": np.array([1, 2, 9.5, 9]), "area": np.float32(5), "crowd": np.True_}
    assert object_of(given, WHOLE, "a") == ObjectAnnotation(
        "cat", (1.0, 2.0, 9.5, 9.0), area=5.0, crowd=True, difficult=True
    )


@pytest.mark.parametrize("given", [{}, {"box": None}])
def test_without_a_box_it_is_all_of_the_image(given: dict[str, Any]) -> None:
    assert object_of({"category": "cat", **given}, WHOLE, "a").box == WHOLE


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"box": []}, "not enough values"),
        ({"box": [1, 2, math.nan, 4]}, "not finite"),
        ({"area": math.inf}, "not finite"),
        ({"box": 3}, "TypeError"),
    ],
)
def test_numbers_that_are_none_are_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(DataError, match=told) as caught:
        object_of({"category": "cat", **given}, WHOLE, "a")
    assert caught.value.reason == "bad-annotation"
