"""Runs of one name keep a folder each; the same run goes on in its own; people name them in three ways."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from jobs.run import history
from jobs.run.history import (
    RunKey,
    find_run,
    folder_of,
    last_run,
    list_runs,
    report_folder,
    run_fingerprint,
    start_run,
)
from jobs.run.summary import read_summary
from sppnet.errors import ArtifactError, ConfigError
from tests.support.recorded_runs import files, make
from tests.support.toy_fixtures import Toys


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every look at the clock is a second later."""
    times = [f"20260102T0304{second:02d}Z" for second in range(60)]
    monkeypatch.setattr(history, "utc_now", lambda: times.pop(0))
    return times


def put(toys: Toys, *keys: RunKey) -> Any:
    """Folders with nothing but a recipe, the last of each name started last."""
    store = toys.engine().workspace.store
    for key in keys:
        store.put(f"runs/{key}/recipe.yaml", b"version: 1")
        store.put(f"runs/{key.name}/last.json", json.dumps({"run": key.folder}).encode())
    return store


def test_a_folder_is_named_by_its_time_and_what_it_makes(toys: Toys) -> None:
    made = make(toys.engine())
    own = run_fingerprint(toys.engine())
    assert re.fullmatch(rf"toy/\d{{8}}T\d{{6}}Z-{own}", str(made.folder.key))
    assert re.fullmatch(r"[0-9a-f]{12}", own)
    assert files(made.folder) == ["events", "recipe.yaml", "summary.json"]
    assert made.folder.recipe()["steps"]["raise"]["power"] == 2, "defaults are written out"
    assert last_run(made.folder.store, "toy") == made.folder.key


def test_the_same_run_goes_on_in_its_folder(toys: Toys, clock: list[str]) -> None:
    first, second = make(toys.engine()), make(toys.engine())
    assert first.folder.key == second.folder.key
    assert files(first.folder) == ["events", "events", "recipe.yaml", "summary.json"]
    assert list_runs(first.folder.store) == [first.folder.key]


def test_other_values_get_a_folder_of_their_own_and_both_stay(toys: Toys, clock: list[str]) -> None:
    plain, cubes = make(toys.engine()), make(toys.engine(power=3))
    again = make(toys.engine())
    assert list_runs(plain.folder.store, "toy") == [plain.folder.key, cubes.folder.key, again.folder.key]
    assert [made.folder.recipe()["steps"]["raise"]["power"] for made in (plain, cubes, again)] == [2, 3, 2]
    assert plain.folder.key.fingerprint == again.folder.key.fingerprint != cubes.folder.key.fingerprint
    assert last_run(plain.folder.store, "toy") == again.folder.key
    assert folder_of(toys.engine()).key == again.folder.key
    assert folder_of(toys.engine(power=3)).key == cubes.folder.key
    assert folder_of(toys.engine(power=4)) is None


def test_how_much_is_made_tells_runs_apart_and_what_only_steers_does_not(toys: Toys, clock: list[str]) -> None:
    few, all_of_them = toys.engine(wanted=[0]), toys.engine()
    assert few.steps[1].spec.artifact == all_of_them.steps[1].spec.artifact
    assert run_fingerprint(few) != run_fingerprint(all_of_them)
    assert run_fingerprint(toys.engine(pause=0.5)) == run_fingerprint(all_of_them)


def test_a_report_goes_to_the_newest_folder_of_its_run_or_to_a_new_one(toys: Toys, clock: list[str]) -> None:
    plain = make(toys.engine())
    make(toys.engine(power=3))
    assert report_folder(toys.engine()).key == plain.folder.key
    uri = plain.folder.write_report("<!doctype html>")
    assert uri == f"{plain.folder.store.uri}/runs/{plain.folder.key}/report.html"
    fresh = report_folder(toys.engine(power=4))
    assert files(fresh) == ["recipe.yaml"]
    assert last_run(fresh.store, "toy") != fresh.key, "only what was run is the last run"
    assert report_folder(toys.engine(power=4)).key == fresh.key


def test_a_run_is_found_by_name_folder_and_fingerprint(toys: Toys) -> None:
    early, late = RunKey("toy", "20260101T000000Z", "a" * 12), RunKey("toy", "20260102T000000Z", "ab" * 6)
    other = RunKey("demo", "20260101T000000Z", "c" * 12)
    store = put(toys, early, late, other)
    wanted = {"toy": late, "demo": other, str(early): early, "aaa": early, "ab": late, "c": other, "c" * 12: other}
    assert {text: find_run(store, text).key for text in wanted} == wanted


def test_of_a_fingerprint_that_ran_again_later_the_newest_is_found(toys: Toys) -> None:
    first, between, again = (
        RunKey("toy", f"2026010{day}T000000Z", digit * 12) for day, digit in ((1, "a"), (2, "b"), (3, "a"))
    )
    assert find_run(put(toys, first, between, again), "aa").key == again


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("tyo", "no run 'tyo' in .*; did you mean toy"),
        ("nothing-like-it", "no run 'nothing-like-it' in .*; there are: toy, toy/20260101T000000Z-a{12}, toy/"),
        ("", "no run '' in "),
        ("a", "run a: several begin so: toy/20260101T000000Z-a{12}, toy/20260102T000000Z-(ab){6}; give more of one"),
    ],
)
def test_a_run_that_can_not_be_told(toys: Toys, reference: str, message: str) -> None:
    store = put(toys, RunKey("toy", "20260101T000000Z", "a" * 12), RunKey("toy", "20260102T000000Z", "ab" * 6))
    with pytest.raises(ConfigError, match=message):
        find_run(store, reference)


def test_where_nothing_was_run_that_is_said(toys: Toys) -> None:
    with pytest.raises(ConfigError, match=r"no run 'toy' in .*: nothing was run there"):
        find_run(toys.engine().workspace.store, "toy")


def test_what_else_lies_among_the_runs_is_no_run(toys: Toys) -> None:
    store = put(toys, RunKey("toy", "20260101T000000Z", "a" * 12))
    store.put("runs/.ray-train/x/y/z", b"")
    store.put("runs/toy/notes/mine.txt", b"")
    assert [str(key) for key in list_runs(store)] == [f"toy/20260101T000000Z-{'a' * 12}"]


@pytest.mark.parametrize("pointer", [b"", b"[]", b'{"run": "mine"}', b'{"run": 3}'])
def test_a_corrupt_pointer_is_told(toys: Toys, pointer: bytes) -> None:
    engine = toys.engine()
    engine.workspace.store.put("runs/toy/last.json", pointer)
    with pytest.raises(ArtifactError, match=r"runs/toy/last.json is corrupt: it names no run's folder; remove it"):
        start_run(engine)


@pytest.mark.parametrize(("data", "message"), [(b"a: [", "not YAML"), (b"- 1", "not a mapping")])
def test_a_corrupt_recipe_is_told(toys: Toys, data: bytes, message: str) -> None:
    folder = make(toys.engine()).folder
    folder.write("recipe.yaml", data)
    with pytest.raises(ArtifactError, match=f"recipe.yaml is corrupt: {message}"):
        folder.recipe()


@pytest.mark.s3
def test_a_history_in_an_object_store(toys: Toys, s3: str, clock: list[str]) -> None:
    toys.workspace = s3
    first, other, again = make(toys.engine()), make(toys.engine(power=3)), make(toys.engine(power=3))
    assert other.folder.key == again.folder.key
    assert list_runs(first.folder.store) == [first.folder.key, other.folder.key]
    assert last_run(first.folder.store, "toy") == other.folder.key
    assert files(other.folder) == ["events", "events", "recipe.yaml", "summary.json"]
    assert find_run(first.folder.store, first.folder.key.fingerprint[:6]).recipe()["steps"]["raise"]["power"] == 2
    assert read_summary(again.folder).state == "done"
