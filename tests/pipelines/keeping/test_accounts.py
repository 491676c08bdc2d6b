"""Accounts of steps: those of a run are right; others are told apart in `test_verify.py`."""

from __future__ import annotations

from pathlib import Path

from pipelines.keeping.accounts import check_accounts, phases_of
from tests.support.chain import Chain
from tests.support.damaging import copy_of, flip


def test_the_accounts_of_all_stages_are_right(chain: Chain) -> None:
    for step in chain.engine.steps:
        artifact = chain.artifact(step.name)
        commits = {unit: artifact.commit(unit) for unit in artifact.committed()}
        assert list(check_accounts(step, artifact, commits)) == []


def test_a_step_with_units_to_make_has_no_sum_to_be_wrong(chain: Chain, tmp_path: Path) -> None:
    copy = copy_of(chain, tmp_path / "ws")
    step, artifact = copy.step("maps"), copy.artifact("maps")
    unit, *others = sorted(artifact.committed())
    artifact.store.delete(artifact.commit_name(unit))
    assert list(check_accounts(step, artifact, {one: artifact.commit(one) for one in others})) == []


def test_phases_that_follow_from_what_is_damaged_are_none(chain: Chain, tmp_path: Path) -> None:
    copy = copy_of(chain, tmp_path / "ws")
    step = copy.step("maps")
    assert [phase.name for phase in phases_of(step)] == ["extract"]
    (manifest,) = (copy.root / "manifests").iterdir()
    flip(manifest)
    assert phases_of(step) == []
