"""Whether the bytes of data objects are those that were committed: read in parts, so that memory stays bounded."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipelines.artifacts.row_counts import rows_in
from pipelines.engine.commits import Commit
from pipelines.engine.damage import Damage
from pipelines.engine.workspace import Artifact, Workspace
from sppnet.errors import ArtifactError

_PART_BYTES = 8 << 20
_MOST_UNITS = 64
_MOST_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Checking:
    """Units whose data is read by one worker, one after another.

    Attributes:
        workspace: The workspace's URI.
        artifact: Their artifact's name.
        commits: Their commits.
    """

    workspace: str
    artifact: str
    commits: tuple[Commit, ...]


def divide(artifact: Artifact, commits: Sequence[Commit]) -> Iterator[Checking]:
    """Cut the units of an artifact into pieces of work of bounded size."""
    piece: list[Commit] = []
    for commit in commits:
        if piece and (len(piece) == _MOST_UNITS or sum(c.size for c in piece) + commit.size > _MOST_BYTES):
            yield Checking(artifact.store.uri, artifact.name, tuple(piece))
            piece = []
        piece.append(commit)
    if piece:
        yield Checking(artifact.store.uri, artifact.name, tuple(piece))


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of a piece of work.

    Attributes:
        size: Bytes that were committed of its units.
        damaged: Those whose data is not what was committed.
    """

    size: int
    damaged: tuple[Damage, ...]


def check_contents(checking: Checking) -> Checked:
    """Read units' data objects and compare checksums and row counts with their commits."""
    artifact = Workspace.open(checking.workspace).artifact(checking.artifact)
    found = [_check(artifact, commit) for commit in checking.commits if commit.data is not None]
    return Checked(sum(commit.size for commit in checking.commits), tuple(one for one in found if one is not None))


def _check(artifact: Artifact, commit: Commit) -> Damage | None:
    name = f"{artifact.name}/{commit.data}"

    def damage(reason: str, detail: str, *, alike: bool = True) -> Damage:
        where = artifact.commit_name(commit.unit)
        return Damage(artifact.name, commit.unit, where, name, reason, detail, commit.attempt, alike)

    try:
        if _digest(artifact, name, commit.size) != commit.sha256:
            return damage("checksum", f"{name} is not what was committed: its checksum differs")
        rows = rows_in(artifact, commit)
    except ArtifactError as error:
        return damage("checksum", str(error))
    if rows is not None and rows != commit.rows:
        return damage("rows", f"{name} has {rows} rows, {commit.rows} were committed", alike=False)
    return None


def _digest(artifact: Artifact, name: str, size: int) -> str:
    found = hashlib.sha256()
    for start in range(0, size, _PART_BYTES):
        found.update(artifact.store.read_range(name, start, min(_PART_BYTES, size - start)))
    return found.hexdigest()
