"""Whether what was committed is there: each commit against its data, by names and sizes from one listing.

Where a listing and a commit differ, the object itself is asked for before anything is called damaged: a listing is no
moment in time, and units are committed while it is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pipelines.engine.commits import COMMITS, DATA_NAME, Commit
from pipelines.engine.store import Entry
from pipelines.engine.workspace import Artifact
from sppnet.errors import ArtifactError

_READERS = 16


@dataclass(frozen=True, slots=True)
class Damage:
    """Something of a workspace that is not what was recorded.

    Attributes:
        artifact: The artifact's name, or the folder's.
        unit: The unit; empty for what is no unit.
        commit: The object that makes it count, by its name in the workspace: once that is gone it is made again.
        data: The object that is wrong, likewise; None if it is the commit.
        reason: `not-a-commit`, `foreign` (of another unit, or naming what is no data of its own), `missing`, `size`,
            `checksum`, `rows`, `keys`, `account`, `record` or `input-gone`.
        detail: One line for a person.
        attempt: Whose commit it is, where that can be read; another's is not removed for it.
        alike: Whether what is made again will be what others were made from.
        mendable: Whether removing `commit` mends it.
    """

    artifact: str
    unit: str
    commit: str
    data: str | None
    reason: str
    detail: str
    attempt: str = ""
    alike: bool = True
    mendable: bool = True

    @property
    def line(self) -> str:
        """Say it in one line: the commit, and what is wrong."""
        return f"{self.commit}: {self.detail}"


@dataclass(frozen=True, slots=True)
class ArtifactListing:
    """All objects of an artifact, from one listing.

    Attributes:
        commits: By unit.
        data: By unit, what attempts at it have put: losers too.
        others: The rest.
        bytes: Of all of it.
    """

    commits: Mapping[str, Entry]
    data: Mapping[str, Sequence[Entry]]
    others: Sequence[Entry]

    @classmethod
    def of(cls, artifact: Artifact) -> ArtifactListing:
        """List an artifact."""
        commits: dict[str, Entry] = {}
        data: dict[str, list[Entry]] = {}
        others: list[Entry] = []
        for entry in artifact.store.list(artifact.name):
            name = entry.name.removeprefix(f"{artifact.name}/")
            if name.startswith(f"{COMMITS}/") and name.endswith(".json"):
                commits[name.removeprefix(f"{COMMITS}/").removesuffix(".json")] = entry
            elif found := DATA_NAME.fullmatch(name):
                data.setdefault(found["unit"], []).append(entry)
            else:
                others.append(entry)
        return cls(commits, data, others)

    @property
    def entries(self) -> list[Entry]:
        """All of it, commits first."""
        return [*self.commits.values(), *self.others, *(entry for entries in self.data.values() for entry in entries)]

    @property
    def bytes(self) -> int:
        """Bytes of all of it."""
        return sum(entry.size for entry in self.entries)

    def put(self, unit: str, name: str) -> Entry | None:
        """Return a unit's data object of a name in the workspace, if it was listed."""
        return next((entry for entry in self.data.get(unit, ()) if entry.name == name), None)


def read_checked(artifact: Artifact, unit: str) -> Commit | Damage | None:
    """Read a unit's commit; return what is wrong with it, or None if it was removed since it was listed."""
    name = artifact.commit_name(unit)
    try:
        body = artifact.store.read(name)
    except ArtifactError:
        return None
    try:
        commit = Commit.from_json(body, name)
    except ArtifactError as error:
        return Damage(artifact.name, unit, name, None, "not-a-commit", str(error).removeprefix(f"{name}: "))
    try:
        commit.check_names(unit, name)
    except ArtifactError as error:
        # What was made from it may be made from something else than its unit.
        return Damage(artifact.name, unit, name, None, "foreign", str(error).removeprefix(f"{name}: "), alike=False)
    return commit


def check_data(artifact: Artifact, commit: Commit, listing: ArtifactListing) -> Damage | None:
    """Compare a commit with the name and the size of its data object."""
    if commit.data is None:
        return None
    name = f"{artifact.name}/{commit.data}"
    entry = listing.put(commit.unit, name)
    if entry is None or entry.size != commit.size:
        entry = artifact.store.entry(name)
    if entry is not None and entry.size == commit.size:
        return None
    again = read_checked(artifact, commit.unit)
    if not isinstance(again, Commit) or again.attempt != commit.attempt:
        return None  # removed or made again meanwhile
    reason = "missing" if entry is None else "size"
    told = "is missing" if entry is None else f"has {entry.size} bytes, {commit.size} were committed"
    where = artifact.commit_name(commit.unit)
    return Damage(artifact.name, commit.unit, where, name, reason, f"{name} {told}", commit.attempt)


def check_units(
    artifact: Artifact, listing: ArtifactListing, units: Iterable[str]
) -> tuple[list[Commit], list[Damage]]:
    """Read the commits of units and compare each with its data object's name and size.

    Returns:
        The commits that are sound, and what is damaged, both in the order of `units`.
    """

    def check(unit: str) -> Commit | Damage | None:
        found = read_checked(artifact, unit)
        return (check_data(artifact, found, listing) or found) if isinstance(found, Commit) else found

    with ThreadPoolExecutor(_READERS) as pool:
        found = list(pool.map(check, units))
    return [one for one in found if isinstance(one, Commit)], [one for one in found if isinstance(one, Damage)]


def known_damage(
    artifact: Artifact, listing: ArtifactListing, units: Iterable[str], size: int | None = None
) -> list[Damage]:
    """Tell what is damaged of some units, reading as few commits as can be: none where all is well.

    Commits are read of units that have no data object or several; and all of them where the sizes don't add up.

    Args:
        artifact: The artifact.
        listing: Its listing.
        units: Units; those that are not committed are passed over.
        size: Bytes of all their data objects together as they were committed; None where that is not known.
    """
    committed = [unit for unit in units if unit in listing.commits]
    doubtful = [unit for unit in committed if len(listing.data.get(unit, ())) != 1]
    commits, damaged = check_units(artifact, listing, doubtful)
    if damaged or size is None:
        return damaged if size is None else check_units(artifact, listing, committed)[1]
    single = {*committed}.difference(doubtful)
    total = sum(listing.data[unit][0].size for unit in single) + sum(commit.size for commit in commits)
    return [] if total == size else check_units(artifact, listing, committed)[1]
