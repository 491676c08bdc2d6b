"""Data read back, piece by piece."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.engine.commits import Output
from pipelines.engine.workspace import Artifact, Workspace
from pipelines.keeping import contents
from pipelines.keeping.contents import Checked, Checking, check_contents, divide
from tests.support.damaging import data_path, flip


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    made = Workspace.open(str(tmp_path)).artifact("maps-c0ffee123456")
    for number in range(10):
        made.publish(f"u{number}", Output(bytes([number]) * (100 + number), ".bin", 1, 1), 0.0)
    made.publish("none", Output(None, "", 0, 0), 0.0)
    return made


def test_pieces_hold_every_unit_once_and_no_more_than_they_may(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contents, "_MOST_BYTES", 320)
    commits = artifact.commits([f"u{number}" for number in range(10)])
    pieces = list(divide(artifact, commits))
    assert [commit for piece in pieces for commit in piece.commits] == commits
    assert all(sum(commit.size for commit in piece.commits) <= 320 for piece in pieces)
    assert len(pieces) == 4
    monkeypatch.setattr(contents, "_MOST_BYTES", 1)
    assert len(list(divide(artifact, commits))) == 10, "one that is too large is a piece of its own"


def test_each_difference_has_its_reason(artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "_PART_BYTES", 16)
    commits = tuple(artifact.commits(["u1", "u2", "u3", "u4", "none"]))
    checking = Checking(artifact.store.uri, artifact.name, commits)
    assert check_contents(checking) == Checked(101 + 102 + 103 + 104, ())
    flip(data_path(artifact, "u1"))
    with data_path(artifact, "u2").open("ab") as file:
        file.truncate(50)
    data_path(artifact, "u4").unlink()
    assert [(one.unit, one.reason) for one in check_contents(checking).damaged] == [
        ("u1", "checksum"),
        ("u2", "checksum"),
        ("u4", "checksum"),
    ]
