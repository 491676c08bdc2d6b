"""`sppnet bench` as a person types it."""

from __future__ import annotations

import pytest

from tests.support.in_process import sppnet


def test_options_reach_the_measure() -> None:
    outcome = sppnet("bench", "pool", "--repeats", "1", "--option", "windows=20", "--device", "cpu")
    assert outcome.code == 0
    assert {row["windows"] for row in outcome.json["measures"]} == {20}
    assert all(row["equal"] for row in outcome.json["measures"])


def test_measures_are_listed() -> None:
    assert {"pool", "pretrain", "rcnn", "views"} <= set(sppnet("bench", "list").json["measures"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("pol",), "no measure 'pol'; there are: "),
        (("pool", "--option", "x=1"), "bench pool: no option 'x'; there are: repeats, windows, device, seed"),
        (("pool", "--option", "windows"), "--option windows: expected NAME=VALUE"),
        (("pool", "--option", "windows=[1"), "--option windows=[1: the value is not YAML"),
    ],
)
def test_wrong_use(arguments: tuple[str, ...], message: str) -> None:
    outcome = sppnet("bench", *arguments)
    assert outcome.code == 2
    assert outcome.json["error"].startswith(message)
