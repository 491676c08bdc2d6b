"""Comparisons of rows: who is paired with whom, on which images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from pipelines.classifying.comparisons import ComparisonConfig, RowVerdicts, Verdicts, check_comparison, compare
from sppnet.errors import ConfigError, DataError

KEYS = ["a", "b", "c", "d"]


def verdicts(wrong: str, keys: list[str] = KEYS) -> Verdicts:
    """`x` marks an image that was got wrong."""
    made = Verdicts()
    made.add(keys, np.array([mark == "x" for mark in wrong]))
    return made


ROWS: RowVerdicts = {
    "none": {"crop": [verdicts("xx.."), verdicts("xxx.")]},
    "spp": {"crop": [verdicts("x..."), verdicts("xx..")], "full": [verdicts("...."), verdicts("x...")]},
    "mean": {"crop": [verdicts("x...")]},
    "large": {"maps96": [verdicts("x...")]},
    "three": {"crop": [verdicts("...."), verdicts("...."), verdicts("....")]},
}


def check(**fields: Any) -> None:
    sizes = {row: {name: len(members) for name, members in views.items()} for row, views in ROWS.items()}
    check_comparison("gain", ComparisonConfig(**fields), sizes)


def found(**fields: Any) -> list[dict[str, Any]]:
    check(**fields)
    return list(compare("gain", ComparisonConfig(**fields), ROWS))


def test_groups_are_paired_in_their_order() -> None:
    (one,) = found(row="spp", over="none")
    assert {name: one[name] for name in ("name", "row", "views", "over", "over_views", "images")} == {
        "name": "gain",
        "row": "spp",
        "views": "crop",
        "over": "none",
        "over_views": "crop",
        "images": 4,
    }
    assert one["by_pair"] == [-0.25, -0.25]
    assert one["difference"] == -0.25
    assert one["over_pairs"] == [-0.25, -0.25]
    low, high = one["over_images"]  # the images' differences: 0, -0.5, -0.5, 0
    assert (low + high) / 2 == pytest.approx(-0.25)
    assert high - low == pytest.approx(2 * 1.959964 * np.std([0, 0.5, 0.5, 0], ddof=1) / 2, abs=1e-5)


def test_views_of_one_row() -> None:
    (one,) = found(row="spp", views="full", over_views="crop")
    assert (one["over"], one["by_pair"]) == ("spp", [-0.25, -0.25])


def test_a_single_classifier_is_compared_with_each_member() -> None:
    (one,) = found(row="mean", over="none")
    assert one["by_pair"] == [-0.25, -0.5]
    (other,) = found(row="none", over="mean")
    assert other["by_pair"] == [0.25, 0.5]


def test_images_that_one_member_lacks_are_left_out() -> None:
    rows = {"one": {"crop": [verdicts("x.x", ["c", "a", "d"])]}, "other": {"crop": [verdicts("..xx")]}}
    (one,) = compare("gain", ComparisonConfig(row="one", over="other"), rows)
    assert (one["images"], one["difference"]) == (3, 0)  # a right in both, c and d wrong in both
    with pytest.raises(DataError, match=r"comparisons.gain: no image was judged by all members"):
        list(compare("gain", ComparisonConfig(row="one", over="other"), rows | {"one": {"crop": [Verdicts()]}}))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"row": "spp", "over": "gone"}, "'gone' is no row; there are none, spp, mean, large, three"),
        (
            {"row": "none", "views": "full", "over_views": "crop"},
            "'none' is not classified under full, but under crop",
        ),
        ({"row": "spp", "over": "three"}, "2 members can't be paired with 3"),
        ({"row": "spp", "over": "large"}, "no view set is in both; give views and over_views"),
    ],
)
def test_what_can_not_be_compared_is_told(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check(**fields)
    assert str(caught.value) == f"comparisons.gain: {message}"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"row": "spp"}, "'spp' is compared with itself; give over, or views and over_views"),
        ({"row": "spp", "views": "crop"}, "'spp' is compared with itself"),
        ({"row": "spp", "views": "crop", "over_views": "crop"}, "'spp' is compared with itself"),
        ({"row": "spp", "over": "none", "over_views": "crop"}, "over_views needs views"),
    ],
)
def test_a_comparison_has_two_sides(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ComparisonConfig(**fields)
