"""Numbers as a reader wants them."""

from __future__ import annotations

import pytest

from jobs import formatting


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 s"),
        (0.042, "0.042 s"),
        (9.04, "9.0 s"),
        (59.9, "60 s"),
        (59.96, "1 min 00 s"),
        (3725, "1 h 02 min"),
        (86399.9, "1 d 00 h"),
        (200_000, "2 d 07 h"),
    ],
)
def test_durations(value: float, text: str):
    assert formatting.duration(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (999_499, "999 kB"), (999_500, "1.00 MB"), (3 * 10**12, "3.00 TB")],
)
def test_sizes(value: int, text: str):
    assert formatting.size(value) == text


def test_other_figures():
    fractions = (0.5963, 1.0, 0.0, None, float("nan"))
    assert [formatting.percent(value) for value in fractions] == [
        "59.6",
        "100.0",
        "0.0",
        formatting.NONE,
        formatting.NONE,
    ]
    assert formatting.rate(10, 0, "keys") == formatting.NONE
    assert formatting.rate(1, 1000, "keys") == "3.60 keys/h"
    assert formatting.rate(12_345, 1, "keys") == "12,345 keys/s"
    assert formatting.count(1234567) == "1,234,567"
    assert formatting.significant(0.0012345) == "0.00123"


def test_differences():
    assert [formatting.points(value) for value in (0.0123, -0.05, 0.0, None, float("nan"))] == [
        "+1.2",
        "\u22125.0",
        "+0.0",
        "\u2013",
        "\u2013",
    ]
    assert formatting.interval((-0.01, 0.02)) == "\u22121.0 to +2.0"
    assert formatting.interval(None) == "\u2013"
