"""The harness in small: one killed driver, and what the harness must see. `make chaos` has the rest."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from pipelines.engine import registry
from tests.chaos.faults import DRIVER_KILLED, NETWORK, PROCESS, STORAGE
from tests.chaos.plans import NO_MEMORY, TWO_AND_GC, TWO_DRIVERS, Plan, plans
from tests.chaos.table import table
from tests.chaos.trial import Outcome, Trial
from tests.chaos.workloads import Toy, Undisturbed
from tests.support.fault_proxy import Request


@pytest.fixture(autouse=True)
def stages() -> Iterator[None]:
    """The toy stages are registered by the harness: other tests in this process must not see them."""
    with patch.dict(registry.STAGES):
        yield


def test_a_killed_driver_says_so_and_its_run_goes_on(tmp_path: Path) -> None:
    plan = Plan(0, Toy(on_ray=False), False, DRIVER_KILLED)
    outcome = Trial(plan, 5, tmp_path / "trial", None, Undisturbed(tmp_path / "undisturbed"), kills=1).go()
    assert outcome.wrong == []
    assert (outcome.disturbed, outcome.codes) == (1, [3, 0])
    assert table([outcome], 5).splitlines()[-1] == f"| driver killed | 1 | 1 | 0: 1, 3: 1 | {outcome.orphans} | 0 |"


def test_every_fault_has_its_trial_and_a_seed_gives_one_order() -> None:
    found = plans(3, ray=True, s3=True, demo=True, networks=True)
    named = {fault.name for fault in (*STORAGE, *PROCESS, *NETWORK)} | {TWO_DRIVERS, TWO_AND_GC, NO_MEMORY}
    assert {plan.fault_name for plan in found} == named

    def order(seed: int) -> list[tuple[str, bool, str]]:
        some = plans(seed, ray=True, s3=True, demo=True, networks=True)
        return [(plan.workload.title, plan.on_s3, plan.fault_name) for plan in some]

    assert order(3) == order(3) != order(4)
    assert all(not plan.workload.on_ray for plan in plans(3, ray=False, s3=True, demo=True, networks=True))
    assert not any(plan.on_s3 for plan in plans(3, ray=True, s3=False, demo=True, networks=True))


def test_a_rule_spoils_the_same_requests_for_the_same_dice() -> None:
    requests = [Request("PUT", f"/b/a-{number}", number) for number in range(200)]
    for fault in STORAGE:
        spoiled = [[fault.rule(random.Random(seed))(request) for request in requests] for seed in (1, 1)]
        assert spoiled[0] == spoiled[1], fault.name
    one = next(fault for fault in STORAGE if fault.name.startswith("503"))
    rule = one.rule(random.Random(1))
    assert 15 < sum(rule(request) is not None for request in requests) < 60


def test_what_went_wrong_is_counted() -> None:
    outcome = Outcome(Plan(0, Toy(on_ray=True), True, DRIVER_KILLED), codes=[1], wrong=["exit code 1 ()"])
    assert table([outcome], 5).splitlines()[-1] == "| driver killed | 1 | 0 | 1: 1 | 0 | 1 |"
