"""The commit protocol, explored: every order of the calls of a few actors, with faults and deaths, none left out.

Units and checkpoints are published by the real code on the real `ObjectStore`; only its file system is a model.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch

from pipelines.engine import object_store, storage_calls, workspace
from pipelines.engine.commits import Commit, Output
from pipelines.engine.store import ObjectStore, StoreUnreachableError
from pipelines.engine.workspace import Artifact
from pipelines.training import checkpoints
from pipelines.training.checkpoints import Checkpoints
from sppnet.errors import ArtifactError
from tests.support.protocol_model import NEW, Actor, Ended, Model, ModelFiles, Numbered, Object, State

ROOT = "bucket/w/a-1"
COMMIT, UNIT = f"{ROOT}/_commits/u.json", "u"


class _Clock:
    """Stands in for `time`."""

    time = staticmethod(lambda: 0.0)
    monotonic = staticmethod(lambda: 0.0)
    sleep = staticmethod(lambda seconds: None)


class Setting:
    """A store on a model, and what acts on it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.files, self.names = ModelFiles(), Numbered()
        monkeypatch.setattr(object_store, "file_system", lambda uri: self.files)
        monkeypatch.setattr(object_store, "_answered", {("model", "bucket", "")})
        for name in ("FSSPEC_S3_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"):
            monkeypatch.delenv(name, raising=False)
        for module in (workspace, checkpoints):
            monkeypatch.setattr(module, "uuid", self.names)
        for module in (workspace, storage_calls):
            monkeypatch.setattr(module, "time", _Clock)
        self.store = ObjectStore("model://bucket/w")
        self.artifact = Artifact(self.store, "a-1")

    def model(self, *actors: Actor, faults: int) -> Model:
        return Model(self.files, list(actors), faults=faults, begin=self.names.begin)

    def publishes(self, name: str, **options: bool) -> Actor:
        """An actor that makes the unit; two of one stage give the same content, so they are told apart by it here."""
        return Actor(name, lambda: self.artifact.publish(UNIT, Output(name.encode(), ".bin", 1, 1), 0.0), **options)

    def saves(self, name: str, step: int = 10, keep: int = 0) -> Actor:
        def save() -> None:
            found = Checkpoints(self.artifact)
            found.save(step, {"w": torch.ones(1)}, [{"by": name}])
            if keep:
                found.prune(keep)

        return Actor(name, save)


@pytest.fixture
def setting(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Setting:
    caplog.set_level(logging.CRITICAL)
    return Setting(monkeypatch)


def _commits(objects: Mapping[str, Object]) -> dict[str, dict[str, Any]]:
    found = {path: json.loads(one.data) for path, one in objects.items() if path.endswith(".json")}
    return {path: commit for path, commit in found.items() if "sha256" in commit}


def _data_of(path: str, commit: Mapping[str, Any]) -> str:
    folder = path.split("/_commits/", maxsplit=1)[0] if "/_commits/" in path else path.rpartition("/")[0]
    return f"{folder}/{commit['data']}"


def check_commits(state: State) -> None:
    """What a commit names is there, whatever happened."""
    objects = state.stored()
    for path, commit in _commits(objects).items():
        assert _data_of(path, commit) in objects, state.story


def check_published(state: State, ends: Mapping[str, Ended | None]) -> None:
    """Who was told that the unit is committed was told the truth, and the same as all others."""
    check_commits(state)
    objects = state.stored()
    told = {end.value.attempt for end in ends.values() if end and isinstance(end.value, Commit)}
    if told:
        assert told == {json.loads(objects[COMMIT].data)["attempt"]}, state.story
    for end in ends.values():
        if end and end.error is not None:
            assert isinstance(end.error, StoreUnreachableError), (end.error, state.story)
    undisturbed = all(end and not end.died and end.error is None for end in ends.values())
    if undisturbed:
        left = {path for path in objects if path != COMMIT}
        assert left == {_data_of(COMMIT, json.loads(objects[COMMIT].data))}, state.story


def test_units_of_two_writers_with_two_faults(setting: Setting) -> None:
    model = setting.model(setting.publishes("a"), setting.publishes("b"), faults=2)
    model.visit(check_published)
    assert model.states > 500


def test_units_of_one_writer_with_four_faults(setting: Setting) -> None:
    model = setting.model(setting.publishes("a"), faults=4)
    model.visit(check_published)


def test_a_reader_finds_all_of_a_unit_or_nothing(setting: Setting) -> None:
    def read() -> bytes | None:
        try:
            commit = setting.artifact.commit(UNIT)
        except ArtifactError:
            return None
        return setting.artifact.read_commit(commit)

    def check(state: State, ends: Mapping[str, Ended | None]) -> None:
        check_commits(state)
        reader = ends["reader"]
        if reader and not reader.died:
            assert reader.error is None, state.story
            assert reader.value in (None, b"a", b"b"), state.story

    reader = Actor("reader", read, dies=False, faulty=False)
    setting.model(setting.publishes("a"), setting.publishes("b"), reader, faults=1).visit(check)


@pytest.mark.parametrize("order", ["data first", "commits first"])
def test_removing_what_no_commit_names_takes_nothing_that_is_committed(setting: Setting, order: str) -> None:
    """What is old enough is of a writer that has ended. The data must be listed before the commits: else it shows."""

    def collect() -> None:
        def old() -> list[str]:
            return [entry.name for entry in setting.store.list("a-1") if entry.modified < NEW and "u-" in entry.name]

        def named() -> set[str]:
            return {f"a-1/{setting.artifact.commit(unit).data}" for unit in sorted(setting.artifact.committed())}

        if order == "data first":
            candidates = old()
            kept = named()
        else:
            kept = named()
            candidates = old()
        for name in candidates:
            if name not in kept:
                setting.store.delete(name)

    collector = Actor("gc", collect, faulty=False)
    model = setting.model(setting.publishes("a"), setting.publishes("b"), collector, faults=1)
    if order == "data first":
        model.visit(lambda state, ends: check_commits(state))
    else:
        with pytest.raises(AssertionError, match="gc: delete"):
            model.visit(lambda state, ends: check_commits(state))


def check_latest(state: State) -> None:
    """The last checkpoint is whole. Who is very late may commit one before it whose data was pruned already."""
    objects = state.stored()
    found = sorted(_commits(objects).items())
    assert not found or _data_of(*found[-1]) in objects, state.story


def check_saved(step: int) -> Callable[[State, Mapping[str, Ended | None]], None]:
    """Whoever has saved a checkpoint without an error has left one that is whole."""

    def check(state: State, ends: Mapping[str, Ended | None]) -> None:
        check_latest(state)
        for end in ends.values():
            assert end is None or end.error is None or isinstance(end.error, StoreUnreachableError), (end, state.story)
        if any(end and not end.died and end.error is None for end in ends.values()):
            assert max(commit["step"] for commit in _commits(state.stored()).values()) == step, state.story

    return check

    return check


def test_checkpoints_of_two_writers_with_two_faults(setting: Setting) -> None:
    setting.model(setting.saves("a"), setting.saves("b"), faults=2).visit(check_saved(10))


def test_whoever_goes_on_finds_a_checkpoint_while_another_saves_and_prunes(setting: Setting) -> None:
    """A trainer that was taken for dead lives on: it saves the next checkpoint and removes the one before."""

    def first() -> Any:
        Checkpoints(setting.artifact).save(10, {"w": torch.ones(1)}, [])

    def goes_on() -> Any:
        found = Checkpoints(setting.artifact).latest()
        return found.step if found else None

    def check(state: State, ends: Mapping[str, Ended | None]) -> None:
        check_latest(state)
        reader = ends["reader"]
        if reader:
            assert reader.error is None, (reader, state.story)
            assert reader.value in (10, 20), state.story

    begun: list[State] = []
    setting.model(Actor("first", first), faults=0).visit(lambda state, ends: begun.append(state))
    late = setting.saves("late", step=20, keep=1)
    reader = Actor("reader", goes_on, dies=False, faulty=False)
    setting.model(late, reader, faults=0).visit(check, begun[-1].stored())


@pytest.mark.parametrize(("others", "faults"), [((10, 20), 0), ((20,), 1)])
def test_two_trainers_that_save_the_same_steps_and_prune(
    setting: Setting, others: tuple[int, ...], faults: int
) -> None:
    def trains(steps: tuple[int, ...]) -> None:
        found = Checkpoints(setting.artifact)
        for step in steps:
            found.save(step, {"w": torch.ones(1)}, [])
            found.prune(1)

    one, other = Actor("a", lambda: trains((10, 20))), Actor("b", lambda: trains(others))
    setting.model(one, other, faults=faults).visit(check_saved(20))


def test_without_reading_back_what_was_created_the_model_finds_the_loss(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model must see the error that it was made for: a create whose answer was lost is taken for another's."""
    create = ObjectStore.create

    def create_blindly(self: ObjectStore, name: str, data: bytes) -> bool:
        with monkeypatch.context() as patch:
            patch.setattr(ObjectStore, "read", lambda self, name: b"")
            return create(self, name, data)

    monkeypatch.setattr(ObjectStore, "create", create_blindly)
    with pytest.raises(AssertionError, match="lost"):
        setting.model(setting.saves("a"), faults=1).visit(check_saved(10))
