"""What is handed out of a phase at work, and what is told of a step's failures and damage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from pipelines.engine.at_work import PhaseAtWork, StepAtWork, told_damage, told_failures
from pipelines.engine.executor import OpenPhase, UnitFailure
from pipelines.engine.phases import Phase

UNITS = ("a1", "b1", "a2", "c", "b2")


@dataclass
class Planned:
    """What is asked of a planned step here."""

    name: str = "maps"


class Bundling:
    """Units of one letter are made together, but `c`, which is alone."""

    def bundle(self, unit: str) -> str | None:
        return None if unit == "c" else unit[0]


def phase_of(*ready: str) -> PhaseAtWork:
    step: Any = StepAtWork(0, Planned())  # type: ignore[arg-type]
    step.stage = Bundling()
    spec: Any = None
    found = PhaseAtWork(step, OpenPhase(spec, Phase("all", UNITS)), set(UNITS), {u: n for n, u in enumerate(UNITS)})
    for unit in ready:
        found.make_ready(unit)
    return found


@pytest.mark.parametrize(
    ("ready", "jobs"),
    [
        (("c", "b2", "a1", "b1", "a2"), [("a1", "a2"), ("b1", "b2"), ("c",)]),  # in the phase's order
        (("a2", "c"), [("a2",), ("c",)]),  # only what is ready goes along
    ],
)
def test_units_come_in_order_with_those_made_together(ready: tuple[str, ...], jobs: list[tuple[str, ...]]) -> None:
    phase, found = phase_of(*ready), []
    while phase.ready:
        assert phase.first() not in phase.taken
        found.append(phase.take().units)
    assert found == jobs
    assert not phase.taken


def test_what_becomes_ready_after_its_bundle_went_goes_alone() -> None:
    phase = phase_of("a1")
    assert phase.take().units == ("a1",)
    phase.make_ready("a2")
    assert phase.take().units == ("a2",)


def test_failures_and_damage_are_a_line_each_of_the_first_five() -> None:
    step: Any = StepAtWork(0, Planned())  # type: ignore[arg-type]
    step.failed_of = 9
    step.failures = [UnitFailure(f"u{number}", "broke", 2) for number in range(7)]
    told = told_failures(step)
    assert told.startswith("step maps: 7 of 9 units failed: u0: broke (2 tries); u1: broke")
    assert told.endswith("u4: broke (2 tries); and 2 more")

    @dataclass
    class Hurt:
        line: str

    step.damaged = [Hurt("x is gone")]
    assert told_damage(step) == "step maps: 1 unit is damaged: x is gone"
