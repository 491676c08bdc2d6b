"""What belongs to nothing is found, and nothing that belongs to something, however many are at work."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from pipelines.engine.commits import Output
from pipelines.engine.damage import ArtifactListing, check_units
from pipelines.engine.workspace import Workspace
from pipelines.executors.local import LocalExecutor
from pipelines.keeping import garbage
from pipelines.keeping.garbage import Garbage, find_garbage, unreferenced
from pipelines.keeping.removal import remove_artifact
from pipelines.keeping.repair import Removal
from pipelines.keeping.verify import verify
from pipelines.training.checkpoints import Checkpoints
from tests.support.damaging import age, data_path, plant
from tests.support.toy_fixtures import UNITS, Toys

HOUR = 3600.0


@pytest.fixture(autouse=True)
def scratch(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """No scratch of this machine is looked at: others' tests run on it."""
    found: list[Any] = []
    monkeypatch.setattr(garbage, "dead_scratch", lambda: found)
    return found


@pytest.fixture
def root(toys: Toys) -> Path:
    """The workspace of a run that is done."""
    toys.run(LocalExecutor())
    return Path(toys.workspace)


def found(root: Path, before: float | None = None) -> dict[str, Garbage]:
    workspace = Workspace.open(str(root))
    return {one.name: one for one in find_garbage(workspace, time.time() - HOUR if before is None else before)}


def take(root: Path) -> None:
    for one in found(root).values():
        one.take()


def files(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def test_a_run_leaves_no_garbage_however_old(root: Path) -> None:
    assert found(root, time.time() + HOUR) == {}


def test_losers_and_old_attempts_are_taken_and_the_winner_stays(root: Path, toys: Toys) -> None:
    powers = toys.powers()
    before = files(root)
    winner = age(data_path(powers, UNITS[0]))
    plant(root, f"{powers.name}/{UNITS[0]}-0123456789ab.json", b"loser")
    plant(root, f"{powers.name}/all/000009-0123456789ab.json", b"an attempt")
    plant(root, "not-an-artifact/000009-0123456789ab.json")
    assert {name: (one.kind, one.size) for name, one in found(root).items()} == {
        f"{powers.name}/{UNITS[0]}-0123456789ab.json": ("data", 5),
        f"{powers.name}/all/000009-0123456789ab.json": ("data", 10),
    }
    take(root)
    assert files(root) - before == {"not-an-artifact/000009-0123456789ab.json"}
    assert winner.is_file()
    assert found(root) == {}


def test_what_is_young_may_be_a_running_jobs(root: Path, toys: Toys) -> None:
    name = f"{toys.powers().name}/all/000009-0123456789ab.json"
    plant(root, name, old=False)
    plant(root, f"{toys.powers().name}/all/.x.json.{'0' * 32}.tmp", old=False)
    assert found(root) == {}
    assert set(found(root, time.time() + 1)) == {name, f"{toys.powers().name}/all/.x.json.{'0' * 32}.tmp"}


def test_a_damaged_units_data_is_left_to_be_looked_at(root: Path, toys: Toys) -> None:
    powers = toys.powers()
    age(data_path(powers, UNITS[0])).rename(root / powers.name / f"{UNITS[0]}-0123456789ab.json")
    plant(root, f"{powers.name}/{UNITS[1]}-0123456789ab.json")
    (root / powers.commit_name(UNITS[1])).write_text("{")
    assert found(root) == {}


def test_puts_that_were_cut_off_and_probes(root: Path) -> None:
    powers = "powers-0123456789ab"
    plant(root, f"{powers}/all/.000001-0123456789ab.json.{'0a' * 16}.tmp", b"half")
    plant(root, ".hidden.tmp")
    plant(root, "runs/.probe-12-0a0b0c0d", b"")
    plant(root, "runs/.ray-train/head-0123456789ab-0a/checkpoint.json", b"{}")
    assert {name: one.kind for name, one in found(root).items()} == {
        f"{powers}/all/.000001-0123456789ab.json.{'0a' * 16}.tmp": "cut-off",
        "runs/.probe-12-0a0b0c0d": "probe",
        "runs/.ray-train/head-0123456789ab-0a/checkpoint.json": "probe",
    }
    take(root)
    assert found(root) == {}
    assert (root / ".hidden.tmp").exists()


def test_of_checkpoints_those_that_a_training_may_read_stay(root: Path, toys: Toys) -> None:
    powers = toys.powers()
    Checkpoints(powers).save(1, {"w": torch.ones(2)}, ())
    folder = root / powers.name / "checkpoints"
    for path in folder.iterdir():
        age(path)
    loser = plant(root, f"{powers.name}/checkpoints/step-000001-0123456789ab.safetensors")
    failed = plant(root, f"{powers.name}/checkpoints/failed-0123456789ab.json")
    names = {path.relative_to(root).as_posix() for path in (loser, failed)}
    assert {name: one.kind for name, one in found(root).items()} == dict.fromkeys(names, "checkpoint")
    powers.publish("model", Output(b"", ".safetensors", 1, 0), 0.0)
    assert len(found(root)) == 4, "once the training is done, all of them"


def test_scratch_is_taken_when_nothing_has_been_written_there_for_long(root: Path, scratch: list[Any]) -> None:
    from pipelines.executors.scratch import Scratch

    folder = root / "spp-x"
    folder.mkdir()
    scratch.append(Scratch(folder, 7, time.time()))
    assert found(root) == {}
    scratch[0] = Scratch(folder, 7, time.time() - 2 * HOUR)
    assert {name: (one.kind, one.size) for name, one in found(root).items()} == {str(folder): ("scratch", 7)}
    take(root)
    assert not folder.exists()


def test_data_that_is_committed_after_it_was_found_is_not_taken(root: Path, toys: Toys) -> None:
    """An attempt that was stopped between its data and its commit, and went on just now."""
    powers = toys.powers()
    commit = powers.commit(UNITS[0])
    place = root / powers.commit_name(UNITS[0])
    body = place.read_bytes()
    place.unlink()
    age(root / powers.name / str(commit.data))
    (one,) = found(root).values()
    place.write_bytes(body)
    one.take()
    assert powers.read(UNITS[0])


def test_two_runs_and_a_collector_at_once(toys: Toys) -> None:
    """Nothing of either run is taken while they race each other, and all that they have lost afterwards."""
    shards = 12
    root = Path(toys.workspace)
    powers = toys.powers(shards)
    Workspace.open(toys.workspace).mark_version()
    plant(root, f"{powers.name}/all/000003-0123456789ab.json")
    ended = threading.Event()
    errors: list[BaseException] = []

    def run() -> None:
        try:
            toys.run(LocalExecutor(), shards=shards, pause=0.005)
        except BaseException as error:  # told to the test's own thread
            errors.append(error)

    def collect() -> None:
        while not ended.is_set():
            take(root)

    runs = [threading.Thread(target=run) for _ in range(2)]
    collector = threading.Thread(target=collect)
    for thread in (*runs, collector):
        thread.start()
    for thread in runs:
        thread.join()
    ended.set()
    collector.join()
    assert errors == []
    assert len(powers.committed()) == shards + 1
    assert not (root / powers.name / "all/000003-0123456789ab.json").exists()
    for one in found(root, time.time() + 1).values():
        assert one.kind == "data"
        one.take()
    listing = ArtifactListing.of(powers)
    assert check_units(powers, listing, listing.commits)[1] == []
    assert all(len(entries) == 1 for entries in listing.data.values())


def test_artifacts_that_nothing_refers_to(root: Path, toys: Toys) -> None:
    workspace = Workspace.open(str(root))
    numbers, powers = (step.spec.artifact for step in toys.engine().steps)
    inputs = {numbers: frozenset[str](), powers: frozenset({numbers})}

    def names(referred: set[str], before: float) -> Iterator[str]:
        return (one.name for one in unreferenced(workspace, referred, inputs, before))

    late = time.time() + HOUR
    assert list(names({powers}, late)) == [], "what it was made from is needed with it"
    assert list(names({numbers}, late)) == [powers]
    assert list(names(set(), late)) == [numbers, powers]
    assert list(names(set(), time.time() - HOUR)) == []
    for one in unreferenced(workspace, {numbers}, inputs, late):
        assert one.size == ArtifactListing.of(workspace.artifact(powers)).bytes
        one.take()
    assert workspace.artifact_names() == [numbers]


@pytest.mark.s3
def test_the_same_in_an_object_store(toys: Toys, s3: str) -> None:
    """Damage is told, mended and made again; losers and uploads go, and so does an artifact."""
    toys.workspace = s3
    toys.run(LocalExecutor())
    workspace, steps = Workspace.open(s3), toys.engine(fresh=()).steps
    numbers, powers = (workspace.artifact(step.spec.artifact) for step in steps)
    workspace.store.put(f"{powers.name}/{UNITS[0]}-0123456789ab.json", b"loser")
    workspace.store.delete(f"{numbers.name}/{numbers.commit(UNITS[1]).data}")
    damaged = verify(workspace, [steps], workspace.artifact_names(), None).damaged
    assert [(one.unit, one.reason) for one in damaged] == [(UNITS[1], "missing")]
    Removal.of(damaged, [steps]).carry_out(workspace)
    assert toys.run(LocalExecutor()).done == [("count", UNITS[1])]
    assert list(find_garbage(workspace, time.time() - HOUR)) == []
    (one,) = find_garbage(workspace, time.time() + HOUR)
    assert (one.kind, one.name) == ("data", f"{powers.name}/{UNITS[0]}-0123456789ab.json")
    one.take()
    assert verify(workspace, [steps], workspace.artifact_names(), None).damaged == []
    remove_artifact(powers)
    assert workspace.store.list(powers.name) == []
