from __future__ import annotations

import hashlib
import json
import socket
from pathlib import Path
from typing import Any

import pytest

from pipelines.engine.commits import Commit, Output, Quarantined
from pipelines.engine.store import open_store
from pipelines.engine.workspace import Artifact, Workspace
from sppnet.errors import ArtifactError, ConfigError, IncompleteError

UNIT = "s0688/train/000000"


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.s3)])
def artifact(request: pytest.FixtureRequest, tmp_path: Path) -> Artifact:
    uri = request.getfixturevalue("s3") if request.param == "s3" else str(tmp_path / "workspace")
    return Workspace.open(uri).artifact("maps-c0ffee123456")


def output(data: bytes | None = b"rows", **more: Any) -> Output:
    return Output(data, ".parquet", rows=4, done=3, **more)


def names(artifact: Artifact) -> list[str]:
    return [entry.name for entry in artifact.store.list(artifact.name)]


def test_a_published_unit_is_committed_and_read_back(artifact: Artifact) -> None:
    assert artifact.kind == "maps"
    assert artifact.committed() == set()
    lost = Quarantined("img7", "truncated", "ends after 12 of 90 rows", "extract")
    commit = artifact.publish(UNIT, output(quarantined=(lost,), metrics={"images": 3}), seconds=1.23456)
    assert artifact.committed() == {UNIT}
    assert artifact.commit(UNIT) == commit
    assert artifact.read(UNIT) == b"rows"
    assert names(artifact) == [
        f"maps-c0ffee123456/_commits/{UNIT}.json",
        f"maps-c0ffee123456/{UNIT}-{commit.attempt}.parquet",
    ]
    assert commit.data == f"{UNIT}-{commit.attempt}.parquet"
    assert (commit.size, commit.rows, commit.done, commit.keys) == (4, 4, 3, 4)
    assert commit.sha256 == hashlib.sha256(b"rows").hexdigest()
    assert commit.seconds == 1.235
    assert commit.host == socket.gethostname()
    assert commit.versions["python"].startswith("3.")
    assert {"torch", "numpy", "pyarrow"} <= set(commit.versions)


def test_the_first_of_two_attempts_wins_and_the_losers_object_goes(artifact: Artifact) -> None:
    first = artifact.publish(UNIT, output(b"first"), 1.0)
    second = artifact.publish(UNIT, output(b"second, longer"), 2.0)
    assert second == first
    assert artifact.read(UNIT) == b"first"
    assert names(artifact) == [
        f"maps-c0ffee123456/_commits/{UNIT}.json",
        f"maps-c0ffee123456/{first.data}",
    ]


def test_a_unit_without_data_is_an_account_only(artifact: Artifact) -> None:
    commit = artifact.publish(UNIT, output(None), 0.0)
    assert commit.data is None
    assert commit.sha256 is None
    assert names(artifact) == [f"maps-c0ffee123456/_commits/{UNIT}.json"]
    with pytest.raises(ArtifactError, match=rf"^maps-c0ffee123456/{UNIT} has no data$"):
        artifact.read(UNIT)


def test_commits_come_in_the_order_asked_for(artifact: Artifact) -> None:
    units = [f"train/{i:06d}" for i in range(20)]
    for unit in units:
        artifact.publish(unit, output(unit.encode()), 0.0)
    assert artifact.committed() == set(units)
    assert [commit.unit for commit in artifact.commits(reversed(units))] == units[::-1]


def test_a_missing_unit_is_named(artifact: Artifact) -> None:
    artifact.publish(UNIT, output(), 0.0)
    with pytest.raises(ArtifactError, match=r"/maps-c0ffee123456/_commits/train/000009\.json does not exist$"):
        artifact.commits([UNIT, "train/000009"])


def overwrite(artifact: Artifact, name: str, data: bytes) -> None:
    artifact.store.delete(f"{artifact.name}/{name}")
    artifact.store.put(f"{artifact.name}/{name}", data)


@pytest.mark.parametrize("altered", [b"rowz", b"row", b"", b"rows and more"])
def test_altered_data_is_found_and_named(artifact: Artifact, altered: bytes) -> None:
    commit = artifact.publish(UNIT, output(), 0.0)
    overwrite(artifact, commit.data, altered)
    with pytest.raises(ArtifactError) as caught:
        artifact.read(UNIT)
    assert str(caught.value) == (
        f"{artifact.store.uri}/{artifact.name}/{commit.data} is not what was committed "
        f"({len(altered)} bytes, expected 4); remove _commits/{UNIT}.json and run again"
    )


def test_data_that_is_gone_is_named(artifact: Artifact) -> None:
    commit = artifact.publish(UNIT, output(), 0.0)
    artifact.store.delete(f"{artifact.name}/{commit.data}")
    with pytest.raises(
        ArtifactError, match=rf"/{commit.data} does not exist; remove _commits/{UNIT}\.json and run again$"
    ):
        artifact.read(UNIT)


def without(name: str) -> bytes:
    fields = json.loads(EXAMPLE.to_json())
    del fields[name]
    return json.dumps(fields).encode()


EXAMPLE = Commit("u", "a", None, 0, None, 0, 0, (), 0.0, {}, "h", 0.0, {})


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"{}",
        b"\xff\xfe",
        without("sha256"),
        EXAMPLE.to_json().replace(b'"rows"', b'"lines"'),
        EXAMPLE.to_json().replace(b'"quarantined":[]', b'"quarantined":[1]'),
        EXAMPLE.to_json().replace(b'"quarantined":[]', b'"quarantined":[{"key":"k"}]'),
        EXAMPLE.to_json()[:-20],
    ],
)
def test_a_corrupt_commit_is_named_with_what_to_do(tmp_path: Path, broken: bytes) -> None:
    artifact = Workspace.open(str(tmp_path)).artifact("maps-1")
    artifact.store.put(f"maps-1/_commits/{UNIT}.json", broken)
    with pytest.raises(ArtifactError) as caught:
        artifact.commit(UNIT)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path}/maps-1/_commits/{UNIT}.json: not a commit (")
    assert message.endswith("); remove it and run again")
    assert "\n" not in message


def test_the_preimage_is_described_once(artifact: Artifact) -> None:
    artifact.describe({"stage": "extract", "schema": 1})
    artifact.describe({"stage": "extract", "schema": 2})
    described = json.loads(artifact.store.read(f"{artifact.name}/artifact.json"))
    assert described == {"stage": "extract", "schema": 1}


def test_a_writable_workspace_keeps_no_probe(artifact: Artifact) -> None:
    Workspace(artifact.store).check_writable()
    assert artifact.store.list() == []


def test_an_unwritable_workspace_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"^workspace can't be written at .*: Not a directory; check its rights"):
        Workspace.open(str(tmp_path / "file" / "w")).check_writable()


def test_an_unreachable_workspace_is_a_config_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    workspace = Workspace.open("memory://away/w")

    def down(*args: object, **options: object) -> None:
        raise OSError("no route")

    monkeypatch.setattr(workspace.store._fs, "pipe_file", down)
    told = r"^workspace memory://away/w can't be reached: .*no route \(10 tries, 0 s\)$"
    with pytest.raises(ConfigError, match=told):
        workspace.check_writable()


def test_a_workspace_of_another_format_is_told(tmp_path: Path) -> None:
    workspace = Workspace.open(str(tmp_path))
    workspace.check_version()  # a new one
    (tmp_path / "photographs-of-mine").mkdir()
    workspace.check_version()  # a folder of other things
    workspace.mark_version()
    workspace.check_version()
    workspace.store.put("workspace.json", b'{"format": 3}')
    with pytest.raises(ArtifactError, match=r"has format 3, this sppnet reads format 2.*give another workspace"):
        workspace.check_version()
    workspace.store.put("workspace.json", b"{")
    with pytest.raises(ArtifactError, match=r"workspace.json is corrupt"):
        workspace.check_version()


def test_the_first_format_had_no_mark(tmp_path: Path) -> None:
    workspace = Workspace.open(str(tmp_path))
    workspace.store.create("maps-c0ffee123456/artifact.json", b"{}")
    assert workspace.artifact_names() == ["maps-c0ffee123456"]
    with pytest.raises(ArtifactError, match=r"has format 1, this sppnet reads format 2"):
        workspace.check_version()


def test_others_know_a_folder_by_its_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert open_store("some/../ws").uri == str(tmp_path / "ws")
    assert open_store("s3://bucket/prefix/").uri == "s3://bucket/prefix"


def test_an_attempt_that_was_held_up_takes_its_commit_back_if_its_data_is_gone(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped for a day between its data and its commit, it must not commit what `gc` has taken meanwhile."""
    monkeypatch.setattr("pipelines.engine.workspace._HELD_UP_SECONDS", -1.0)
    assert artifact.publish("kept", output(), 0.0).unit == "kept"
    real = artifact.store.create

    def create(name: str, data: bytes) -> bool:
        for entry in artifact.store.list(artifact.name):
            if f"/{UNIT}-" in entry.name:
                artifact.store.delete(entry.name)
        return real(name, data)

    monkeypatch.setattr(artifact.store, "create", create)
    with pytest.raises(IncompleteError, match="was collected before it could be committed"):
        artifact.publish(UNIT, output(), 0.0)
    assert artifact.committed() == {"kept"}


def test_two_first_runs_at_once_take_the_workspace_for_a_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one marks it, and makes its first artifact, between our two looks."""
    ours, other = Workspace.open(str(tmp_path)), Workspace.open(str(tmp_path))
    real = ours.store.folders

    def folders() -> tuple[str, ...]:
        other.mark_version()
        other.artifact("maps-c0ffee123456").describe({})
        return real()

    monkeypatch.setattr(ours.store, "folders", folders)
    ours.check_version()
    assert ours.artifact_names() == ["maps-c0ffee123456"]
