"""What a unit costs beside others, and how what it asks for is told."""

from __future__ import annotations

from typing import Literal

import pytest

from pipelines.engine.phases import Needs, Phase, Resources


def test_units_cost_the_same_unless_the_phase_says_otherwise() -> None:
    assert Phase("all", ("a", "b")).cost_by_unit() == {"a": 1.0, "b": 1.0}
    assert Phase("all", ("a", "b"), costs=(2.0, 0.5)).cost_by_unit() == {"a": 2.0, "b": 0.5}
    with pytest.raises(ValueError, match="shorter"):
        Phase("all", ("a", "b"), costs=(2.0,)).cost_by_unit()


@pytest.mark.parametrize(
    ("cpus", "gpus", "workers", "told"),
    [
        (1, 0, 0, "1 CPU"),
        (0.5, "auto", 1, "0.5 CPU + GPU if any"),
        (2, 0.25, 0, "2 CPU + 0.25 GPU"),
        (4, 1, 3, "3 x (4 CPU + 1 GPU)"),
    ],
)
def test_what_a_step_asks_for_is_told(cpus: float, gpus: float | Literal["auto"], workers: int, told: str) -> None:
    assert Needs("maps", Resources(cpus=cpus, gpus=gpus), workers).describe() == told
