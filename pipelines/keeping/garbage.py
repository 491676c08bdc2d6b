"""What is left in a workspace and belongs to nothing: losers' and old attempts' data, puts that were cut off, probes.

A running job puts data first and its commit after it, so that for a moment its data looks like garbage: only what is
older than a guard is taken, and commits are listed after the data.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from pipelines.engine.commits import Commit
from pipelines.engine.damage import ArtifactListing, read_checked
from pipelines.engine.store import Entry, Store
from pipelines.engine.workspace import Artifact, Workspace
from pipelines.executors.scratch import dead_scratch, remove_scratch
from pipelines.keeping.removal import remove_artifact
from pipelines.training.checkpoints import FOLDER as CHECKPOINTS
from pipelines.training.checkpoints import Checkpoints

_PROBE = re.compile(r"runs/\.probe-[\w-]+|runs/\.ray-train/.+|runs/[^/]+/[^/]+/going-[\w.]+")


@dataclass(frozen=True, slots=True)
class Garbage:
    """Something that nobody needs.

    Attributes:
        kind: `data` of an attempt that no commit names, `checkpoint`, `cut-off` (a put), `probe`, `scratch` of a
            process that is gone, or `artifact` (that no recipe refers to).
        name: Its name in the workspace, or its path.
        size: Bytes.
        take: Removes it.
    """

    kind: str
    name: str
    size: int
    take: Callable[[], None]


def find_garbage(workspace: Workspace, before: float) -> Iterator[Garbage]:
    """Find what belongs to nothing in a workspace, and scratch of dead processes on this machine.

    Args:
        workspace: The workspace.
        before: Only what was last written earlier, seconds since the epoch by the store's clock.
    """
    for name in workspace.artifact_names():
        yield from _in_artifact(workspace.artifact(name), before)
    for left in workspace.store.leftovers():
        if left.modified < before:
            yield Garbage("cut-off", left.name, left.size, partial(workspace.store.discard, left))
    for entry in workspace.store.list("runs"):
        if _PROBE.fullmatch(entry.name) and entry.modified < before:
            yield _object("probe", entry, workspace.store)
    for scratch in dead_scratch():
        if scratch.modified < before:
            yield Garbage("scratch", str(scratch.folder), scratch.size, partial(remove_scratch, scratch))


def unreferenced(
    workspace: Workspace, referred: Iterable[str], inputs: Mapping[str, frozenset[str]], before: float
) -> Iterator[Garbage]:
    """Find artifacts that nothing refers to.

    Args:
        workspace: The workspace.
        referred: Names of artifacts that are needed, and with them what they are made from.
        inputs: By artifact, what it was made from.
        before: Only those in which nothing was written later.
    """
    needed: set[str] = set()
    waiting = list(referred)
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting += inputs.get(name, ())
    for name in inputs:
        if name in needed:
            continue
        artifact = workspace.artifact(name)
        listing = ArtifactListing.of(artifact)
        if all(entry.modified < before for entry in listing.entries):
            yield Garbage("artifact", name, listing.bytes, partial(remove_artifact, artifact))


def _in_artifact(artifact: Artifact, before: float) -> Iterator[Garbage]:
    listing = ArtifactListing.of(artifact)
    committed = artifact.committed()  # listed after the data: what is committed meanwhile is among them
    for unit, entries in listing.data.items():
        old = [entry for entry in entries if entry.modified < before]
        if old and not unit.startswith(f"{CHECKPOINTS}/"):
            for entry in _losers(artifact, unit, old, len(entries), committed):
                yield Garbage("data", entry.name, entry.size, partial(_take_data, artifact, unit, entry.name))
    for entry in Checkpoints(artifact).garbage():
        if entry.modified < before:
            yield _object("checkpoint", entry, artifact.store)


def _losers(artifact: Artifact, unit: str, old: list[Entry], count: int, committed: set[str]) -> list[Entry]:
    """Return which of a unit's data objects no commit names; of a single one of a unit that is committed, none."""
    if unit not in committed:
        return old
    if count == 1:
        return []  # its own, or else the unit is damaged, which is for `verify` to say
    commit = read_checked(artifact, unit)
    if not isinstance(commit, Commit):
        return []
    return [entry for entry in old if entry.name != f"{artifact.name}/{commit.data}"]


def _take_data(artifact: Artifact, unit: str, name: str) -> None:
    """Remove a data object, unless an attempt that was held up for long has committed it since."""
    commit = read_checked(artifact, unit)
    if not isinstance(commit, Commit) or f"{artifact.name}/{commit.data}" != name:
        artifact.store.delete(name)


def _object(kind: str, entry: Entry, store: Store) -> Garbage:
    return Garbage(kind, entry.name, entry.size, partial(store.delete, entry.name))
