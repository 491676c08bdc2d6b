"""What is taken away, so that the next run makes exactly what is damaged, and what follows only where it changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.engine.damage import Damage
from pipelines.engine.workspace import Workspace
from pipelines.executors.local import LocalExecutor
from pipelines.keeping import lineage
from pipelines.keeping.contents import check_contents
from pipelines.keeping.repair import Removal, remove_units
from pipelines.keeping.verify import verify
from tests.support.chain import Chain
from tests.support.damaging import copy_of, data_path, flip, rewrite
from tests.support.toy_fixtures import UNITS, Recorder, Toys

SUM = "sum/0_1_2"


def repair(toys: Toys) -> Removal:
    """Looks through a workspace and mends it."""
    workspace, steps = Workspace.open(toys.workspace), toys.engine(fresh=()).steps
    names = workspace.artifact_names()
    found = verify(workspace, [steps], names, lambda pieces, total: map(check_contents, pieces))
    removal = Removal.of(found.damaged, [steps])
    removal.carry_out(workspace)
    return removal


def test_the_next_run_makes_what_was_damaged_and_nothing_else(toys: Toys) -> None:
    toys.run(LocalExecutor())
    numbers = Workspace.open(toys.workspace).artifact(toys.engine().steps[0].spec.artifact)
    powers = toys.powers()
    before = {unit: powers.read(unit) for unit in powers.committed()}
    data_path(numbers, UNITS[0]).unlink()
    flip(data_path(powers, UNITS[1]))
    Path(toys.workspace, powers.commit_name(UNITS[2])).write_text("{")
    removal = repair(toys)
    assert {one.commit for one in removal.damaged} == {
        numbers.commit_name(UNITS[0]),
        powers.commit_name(UNITS[1]),
        powers.commit_name(UNITS[2]),
    }
    assert removal.followers == ()
    again = toys.run(LocalExecutor())
    assert again.done == [("count", UNITS[0]), ("raise", UNITS[1]), ("raise", UNITS[2])]
    assert {unit: powers.read(unit) for unit in powers.committed()} == before
    assert repair(toys) == Removal((), (), ())


def test_what_was_made_from_another_unit_is_made_again_with_what_follows(toys: Toys) -> None:
    toys.run(LocalExecutor())
    powers = toys.powers()
    rewrite(powers, UNITS[1], unit=UNITS[0])
    removal = repair(toys)
    assert [one.commit for one in removal.damaged] == [powers.commit_name(UNITS[1])]
    assert removal.followers == ((powers.name, SUM),)
    assert toys.run(LocalExecutor()).done == [("raise", UNITS[1]), ("raise", SUM)]


def test_what_is_trained_takes_its_followers_along(toys: Toys, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = toys.engine().steps
    numbers, powers = (step.spec.artifact for step in steps)
    lost = Damage(numbers, UNITS[0], "x", None, "missing", "is missing")
    assert Removal.of([lost], [steps]).followers == ()
    monkeypatch.setattr("pipelines.keeping.repair.trained", lambda recipes: {(numbers, UNITS[0])})
    assert Removal.of([lost], [steps]).followers == tuple((powers, unit) for unit in (*UNITS[:3], SUM))
    assert lineage.trained([steps]) == set()


def test_what_no_removal_mends_is_left(toys: Toys) -> None:
    one = Damage("a-1", "", "a-1/artifact.json", None, "input-gone", "is gone", mendable=False)
    assert Removal.of([one], []) == Removal((), (), ())


def test_accounts_go_with_their_units(toys: Toys) -> None:
    first = toys.run(LocalExecutor(), refuse=5, max_quarantined=1)
    powers = toys.powers(refuse=5, max_quarantined=1)
    assert len(powers.store.list(f"{powers.name}/_summaries")) == 1
    remove_units(Workspace.open(toys.workspace), [(powers.name, UNITS[0])])
    assert powers.store.list(f"{powers.name}/_summaries") == []
    assert UNITS[0] not in powers.committed()
    again = toys.run(LocalExecutor(), refuse=5, max_quarantined=1)
    assert (again.summaries[1].keys, again.summaries[1].quarantined) == (12, first.summaries[1].quarantined)


def test_a_lost_manifest_is_found_again_by_looking_anew(chain: Chain, tmp_path: Path) -> None:
    copy = copy_of(chain, tmp_path / "ws")
    (path,) = (copy.root / "manifests").iterdir()
    body = path.read_bytes()
    flip(path)
    workspace = Workspace.open(str(copy.root))
    Removal.of(verify(workspace, [], workspace.artifact_names(), None).damaged, []).carry_out(workspace)
    assert not path.exists()
    recorder = Recorder()
    Chain(copy.data, copy.steps, copy.root).engine.run(LocalExecutor(), recorder)
    assert path.read_bytes() == body
    assert recorder.done == []


def test_a_unit_that_was_made_again_meanwhile_is_left_alone(toys: Toys) -> None:
    toys.run(LocalExecutor())
    powers = toys.powers()
    workspace, steps = Workspace.open(toys.workspace), toys.engine(fresh=()).steps
    data_path(powers, UNITS[1]).unlink()
    found = verify(workspace, [steps], workspace.artifact_names(), None)
    first, second = Removal.of(found.damaged, [steps]), Removal.of(found.damaged, [steps])
    assert first.carry_out(workspace) == [powers.commit_name(UNITS[1])]
    toys.run(LocalExecutor())
    assert second.carry_out(workspace) == []
    assert powers.read(UNITS[1])
