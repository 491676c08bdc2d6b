"""Commits against their data: what is damaged is named, and nothing else is, with as few reads as can be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.engine.commits import Commit, Output
from pipelines.engine.damage import ArtifactListing, Damage, check_units, known_damage, read_checked
from pipelines.engine.store import LocalStore
from pipelines.engine.workspace import Artifact, Workspace
from sppnet.errors import ArtifactError

UNITS = ("s1/a", "s1/b", "c")


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    """Three units of 4, 5 and 6 bytes."""
    made = Workspace.open(str(tmp_path)).artifact("maps-c0ffee123456")
    for number, unit in enumerate(UNITS):
        made.publish(unit, Output(b"x" * (4 + number), ".parquet", 1, 1), 0.0)
    return made


def path(artifact: Artifact, unit: str) -> Path:
    return Path(artifact.store.uri, artifact.name, str(artifact.commit(unit).data))


def rewrite(artifact: Artifact, of: str, **fields: Any) -> None:
    """Writes other fields into a commit."""
    place = Path(artifact.store.uri, artifact.commit_name(of))
    place.write_text(json.dumps(json.loads(place.read_text()) | fields))


def damage(artifact: Artifact) -> list[Damage]:
    listing = ArtifactListing.of(artifact)
    return check_units(artifact, listing, listing.commits)[1]


def test_a_listing_tells_commits_from_data_and_the_rest(artifact: Artifact) -> None:
    artifact.describe({"stage": "x"})
    artifact.store.put(f"{artifact.name}/s1/a-0123456789ab.parquet", b"loser")
    listing = ArtifactListing.of(artifact)
    assert set(listing.commits) == set(UNITS)
    assert {unit: sorted(entry.size for entry in entries) for unit, entries in listing.data.items()} == {
        "s1/a": [4, 5],
        "s1/b": [5],
        "c": [6],
    }
    assert [entry.name for entry in listing.others] == [f"{artifact.name}/artifact.json"]
    assert listing.bytes == sum(entry.size for entry in artifact.store.list(artifact.name))


def test_what_is_whole_is_not_damaged(artifact: Artifact) -> None:
    commits, damaged = check_units(artifact, ArtifactListing.of(artifact), UNITS)
    assert ([commit.unit for commit in commits], damaged) == (list(UNITS), [])


def test_data_that_is_gone_or_cut_short_is_named_with_its_commit(artifact: Artifact) -> None:
    gone, short = path(artifact, "s1/a"), path(artifact, "c")
    gone.unlink()
    short.write_bytes(b"xx")
    first, second = damage(artifact)
    if first.unit == "c":
        first, second = second, first
    assert (first.unit, first.reason, first.commit) == ("s1/a", "missing", f"{artifact.name}/_commits/s1/a.json")
    assert first.data == f"{artifact.name}/s1/{gone.name}"
    assert (second.unit, second.reason, second.alike, second.mendable) == ("c", "size", True, True)
    assert second.line == f"{second.commit}: {second.data} has 2 bytes, 6 were committed"


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"unit": "s1/b"}, "is of unit 's1/b'"),
        ({"data": "../../etc/passwd"}, "names '../../etc/passwd', which is no data of its unit"),
        ({"data": "/etc/passwd"}, "names '/etc/passwd', which is no data of its unit"),
        ({"data": "c-0123456789ab.parquet"}, "names 'c-0123456789ab.parquet', which is no data of its unit"),
        ({"data": "s1/a-0123456789ab/../b.json"}, "which is no data of its unit"),
    ],
)
def test_a_commit_of_something_else_is_refused_and_never_followed(
    artifact: Artifact, fields: dict[str, str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rewrite(artifact, "s1/a", **fields)
    read: list[str] = []
    real = LocalStore.read
    monkeypatch.setattr(LocalStore, "read", lambda self, name, *rest: read.append(name) or real(self, name, *rest))
    with pytest.raises(ArtifactError) as caught:
        artifact.read("s1/a")
    name = artifact.commit_name("s1/a")
    assert str(caught.value).startswith(f"{artifact.store.uri}/{name}: ")
    assert told in str(caught.value)
    assert str(caught.value).endswith("; remove it and run again")
    assert read == [name]
    (found,) = damage(artifact)
    assert (found.unit, found.reason, found.commit, found.alike) == ("s1/a", "foreign", name, False)


@pytest.mark.parametrize("body", ["", "{", "[]", '{"unit": "s1/a"}', "\xff"])
def test_what_is_no_commit_is_named(artifact: Artifact, body: str) -> None:
    Path(artifact.store.uri, artifact.commit_name("s1/a")).write_text(body, encoding="latin-1")
    (found,) = damage(artifact)
    assert (found.unit, found.reason, found.alike) == ("s1/a", "not-a-commit", True)


def test_a_listing_that_is_older_than_what_is_there_accuses_nobody(artifact: Artifact) -> None:
    listing = ArtifactListing.of(artifact)
    artifact.publish("d", Output(b"new", ".parquet", 1, 1), 0.0)
    artifact.store.delete(artifact.commit_name("c"))
    stale = ArtifactListing({**listing.commits, "d": listing.commits["c"]}, listing.data, ())
    commits, damaged = check_units(artifact, stale, [*UNITS, "d"])
    assert ([commit.unit for commit in commits], damaged) == (["s1/a", "s1/b", "d"], [])
    assert read_checked(artifact, "c") is None


def test_a_unit_without_data_is_whole(artifact: Artifact) -> None:
    artifact.publish("none", Output(None, "", 0, 0), 0.0)
    assert isinstance(read_checked(artifact, "none"), Commit)
    assert damage(artifact) == []
    assert known_damage(artifact, ArtifactListing.of(artifact), [*UNITS, "none"], 15) == []


class TestKnownDamage:
    """What `status` and `run` know from one listing."""

    @pytest.fixture
    def reads(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """Objects that are read from now on."""
        found: list[str] = []
        real = LocalStore.read
        monkeypatch.setattr(LocalStore, "read", lambda self, name, *rest: found.append(name) or real(self, name, *rest))
        return found

    def test_nothing_is_read_where_the_sizes_add_up(self, artifact: Artifact, reads: list[str]) -> None:
        assert known_damage(artifact, ArtifactListing.of(artifact), UNITS, 15) == []
        assert reads == []

    def test_a_loser_costs_one_commit(self, artifact: Artifact, reads: list[str]) -> None:
        artifact.store.put(f"{artifact.name}/c-0123456789ab.parquet", b"loser")
        assert known_damage(artifact, ArtifactListing.of(artifact), UNITS, 15) == []
        assert reads == [artifact.commit_name("c")]

    def test_sizes_that_do_not_add_up_have_all_commits_read(self, artifact: Artifact) -> None:
        path(artifact, "s1/b").write_bytes(b"x")
        (found,) = known_damage(artifact, ArtifactListing.of(artifact), UNITS, 15)
        assert (found.unit, found.reason) == ("s1/b", "size")

    def test_an_incomplete_step_knows_what_is_missing(self, artifact: Artifact, reads: list[str]) -> None:
        data = path(artifact, "s1/b")
        data.unlink()
        reads.clear()
        (found,) = known_damage(artifact, ArtifactListing.of(artifact), [*UNITS, "not-made"])
        assert (found.unit, found.reason) == ("s1/b", "missing")
        assert set(reads) == {artifact.commit_name("s1/b")}

    def test_only_units_that_were_asked_for_count(self, artifact: Artifact) -> None:
        path(artifact, "s1/b").unlink()
        assert known_damage(artifact, ArtifactListing.of(artifact), ["s1/a", "c"], 10) == []
