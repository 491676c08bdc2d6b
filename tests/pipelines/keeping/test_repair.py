"""What is taken away, so that the next run makes exactly what is damaged, and what follows only where it changes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.engine import registry
from pipelines.engine.damage import Damage
from pipelines.engine.workspace import Artifact, Workspace
from pipelines.executors.local import LocalExecutor
from pipelines.keeping import lineage
from pipelines.keeping.contents import check_contents
from pipelines.keeping.repair import Removal, remove_units
from pipelines.keeping.verify import verify
from tests.support.chain import Chain
from tests.support.damaging import copy_of, data_path, flip, rewrite
from tests.support.toy_fixtures import UNITS, Recorder, Toys
from tests.support.toy_stages import register

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


KINDS = ("gone", "short", "long", "flipped", "no-json", "another", "outside")


def harm(artifact: Artifact, unit: str, kind: str) -> None:
    """Damages a unit in one of the ways that disks, people and programs have."""
    path, commit = data_path(artifact, unit), Path(artifact.store.uri, artifact.commit_name(unit))
    whole = path.read_bytes()
    if kind == "gone":
        path.unlink()
    elif kind in ("short", "long"):
        path.write_bytes(whole[:-1] if kind == "short" else whole + b" ")
    elif kind == "flipped":
        flip(path)
    elif kind == "no-json":
        commit.write_bytes(commit.read_bytes()[:-1])
    else:
        rewrite(artifact, unit, **({"unit": "all/other"} if kind == "another" else {"data": "../../other.json"}))


@settings(max_examples=8)
@given(data=st.data())
def test_whatever_is_damaged_is_found_and_made_again_as_it_was(data: st.DataObject, undamaged: Toys) -> None:
    """Exactly the damaged units are found, and after a repair and a run everything is as in the undisturbed run."""
    with TemporaryDirectory() as folder:
        shutil.copytree(undamaged.workspace, f"{folder}/ws")
        toys = Toys(f"{folder}/ws", Path(folder, "marks"))
        artifacts = [Workspace.open(toys.workspace).artifact(step.spec.artifact) for step in toys.engine().steps]
        units = [(artifact, unit) for artifact in artifacts for unit in sorted(artifact.committed())]
        before = {(artifact.name, unit): artifact.read(unit) for artifact, unit in units}
        chosen = data.draw(st.dictionaries(st.sampled_from(range(len(units))), st.sampled_from(KINDS), min_size=1))
        for number, kind in chosen.items():
            harm(*units[number], kind)
        workspace = Workspace.open(toys.workspace)
        steps = toys.engine(fresh=()).steps
        names = [artifact.name for artifact in artifacts]
        found = verify(workspace, [steps], names, lambda pieces, total: map(check_contents, pieces)).damaged
        assert {(one.artifact, one.unit) for one in found} == {(units[n][0].name, units[n][1]) for n in chosen}
        Removal.of(found, [steps]).carry_out(workspace)
        toys.run(LocalExecutor())
        assert {(artifact.name, unit): artifact.read(unit) for artifact, unit in units} == before
        assert verify(workspace, [steps], names, lambda pieces, total: map(check_contents, pieces)).damaged == []


@pytest.fixture(scope="module")
def undamaged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Toys]:
    """A run that is done: copy it, don't change it."""
    folder = tmp_path_factory.mktemp("undamaged")
    with patch.dict(registry.STAGES):
        register()
        toys = Toys(str(folder / "ws"), folder / "marks")
        toys.run(LocalExecutor())
        yield toys
