"""Whole artifacts go, their commits before their data."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.engine.store import LocalStore
from pipelines.engine.workspace import Workspace
from pipelines.executors.local import LocalExecutor
from pipelines.keeping.removal import remove_artifact
from tests.support.toy_fixtures import Toys


def test_commits_go_first_and_nothing_is_left(toys: Toys, monkeypatch: pytest.MonkeyPatch) -> None:
    toys.run(LocalExecutor())
    powers = toys.powers()
    gone: list[str] = []
    real = LocalStore.delete
    monkeypatch.setattr(LocalStore, "delete", lambda self, name: gone.append(name) or real(self, name))
    remove_artifact(powers)
    commits = [number for number, name in enumerate(gone) if "/_commits/" in name]
    assert sorted(commits) == [0, 1, 2, 3]
    assert len(gone) == 4 + 4 + 2  # commits, their data, the record and the account
    assert not Path(toys.workspace, powers.name).exists()
    assert powers.name not in Workspace.open(toys.workspace).artifact_names()


def test_what_is_put_meanwhile_stays(toys: Toys, monkeypatch: pytest.MonkeyPatch) -> None:
    toys.run(LocalExecutor())
    powers = toys.powers()
    real = LocalStore.remove_folder

    def late(store: LocalStore, name: str) -> None:
        store.put(f"{powers.name}/all/new.json", b"new")
        real(store, name)

    monkeypatch.setattr(LocalStore, "remove_folder", late)
    remove_artifact(powers)
    assert [entry.name for entry in powers.store.list(powers.name)] == [f"{powers.name}/all/new.json"]
