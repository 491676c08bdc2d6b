"""What steps found outside the workspace: data sets and files, as they were when they were last looked at.

A look is kept in the workspace (`looks/<place>/<when>-<config>-<id>/look.json`, with objects that the next look builds
on beside it). So a run that finds nothing changed reads nothing again, and what a finished run left can be used after
its data set has gone. Looks at one place build on one another, also where they look for something else: other splits
of a data set, say. A look is written once; the newest one counts.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipelines.engine.checked_reads import read_again_unless
from pipelines.engine.codec import decode, encode
from pipelines.engine.fingerprint import content_digest, fingerprint
from pipelines.engine.store import Store
from sppnet.errors import ArtifactError

FOLDER = "looks"
_RECORD = "look.json"


@dataclass(frozen=True, slots=True)
class Look:
    """What a step found outside the workspace.

    Attributes:
        digests: What its artifact's fingerprint follows, by name.
        manifest: The digest of the data set's manifest, for a step that ingests.
        splits: By split, what the fingerprints of steps follow that take all of it together: digests of its `images`
            and of its `annotations`.
        objects: By name, what the next look builds on.
        shared: By name in the workspace, what steps read of it, such as a manifest.
        reread: Whether files were read again, so that the next look does well to build on this one.
    """

    digests: Mapping[str, Any] = field(default_factory=dict)
    manifest: str = ""
    splits: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    objects: Mapping[str, bytes] = field(default_factory=dict)
    shared: Mapping[str, bytes] = field(default_factory=dict)
    reread: bool = True


@dataclass(frozen=True, slots=True)
class PastLook:
    """A look that a workspace keeps.

    Attributes:
        store: The workspace's store.
        name: The look's folder.
        look: What was found; its objects are read when they are asked for.
        digests: Of its objects, by name; a look of an older version has none.
    """

    store: Store
    name: str
    look: Look
    digests: Mapping[str, str] = field(default_factory=dict)

    def read(self, name: str) -> bytes:
        """Read one of its objects; raises `ArtifactError` if it is missing or altered."""
        full = f"{self.name}/{name}"

        def is_whole(data: bytes) -> bool:
            return self.digests.get(name) in (None, content_digest(data))

        data = read_again_unless(is_whole, lambda: self.store.read(full), f"{self.store.uri}/{full}")
        if not is_whole(data):
            raise ArtifactError(f"{self.store.uri}/{full} is not what was written; remove its folder and run again")
        return data


@dataclass(frozen=True, slots=True)
class Past:
    """What is known when a step looks.

    Attributes:
        same: The newest look for the same at the same place; None if there is none.
        newest: The newest look at that place, whatever it was for.
    """

    same: PastLook | None = None
    newest: PastLook | None = None

    @property
    def looks(self) -> tuple[PastLook, ...]:
        """Those that there are, each once, the newest last."""
        found = (self.newest,) if self.same is self.newest else (self.same, self.newest)
        return tuple(look for look in found if look is not None)


@dataclass(frozen=True, slots=True)
class _Record:
    """A look as it is stored."""

    stage: str
    place: Mapping[str, Any]
    outside: Mapping[str, Any]
    digests: Mapping[str, Any]
    manifest: str
    splits: Mapping[str, Mapping[str, str]]
    objects: Mapping[str, str] = field(default_factory=dict)


class LookBook:
    """The looks of a workspace.

    Args:
        store: The workspace's store.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def past(self, stage: str, place: Mapping[str, Any], outside: Mapping[str, Any]) -> Past:
        """Return the newest looks of a stage at a place.

        Args:
            stage: The stage's name.
            place: Where it looks.
            outside: What it looks for.

        Raises:
            ArtifactError: A record is corrupt.
        """
        listed = self._store.list(_folder(stage, place))
        names = sorted(entry.name for entry in listed if entry.name.endswith(f"/{_RECORD}"))
        if not names:
            return Past()
        newest = self.read(names[-1])
        same = [name for name in names if f"-{_digest(outside)}-" in name.rsplit("/", 2)[1]]
        return Past(newest if same[-1:] == names[-1:] else self.read(same[-1]) if same else None, newest)

    def names(self) -> list[str]:
        """List the records of all looks by their names in the workspace."""
        return [entry.name for entry in self._store.list(FOLDER) if entry.name.endswith(f"/{_RECORD}")]

    def read(self, name: str) -> PastLook:
        """Read a look by its record's name; raises `ArtifactError` if it is missing or corrupt."""
        try:
            record = decode(_Record, self._store.read(name), f"{self._store.uri}/{name}")
        except ArtifactError as error:
            raise ArtifactError(f"{error}; remove it and run again") from error
        look = Look(record.digests, record.manifest, record.splits, reread=False)
        return PastLook(self._store, name.removesuffix(f"/{_RECORD}"), look, record.objects)

    def record(self, stage: str, place: Mapping[str, Any], outside: Mapping[str, Any], look: Look) -> None:
        """Keep a look, its record last: a look that is cut off by a kill is none."""
        seconds, rest = divmod(time.time_ns(), 1_000_000_000)
        when = time.strftime("%Y%m%dT%H%M%S", time.gmtime(seconds))
        name = f"{_folder(stage, place)}/{when}.{rest:09d}-{_digest(outside)}-{uuid.uuid4().hex[:6]}"
        for shared, data in look.shared.items():
            self._store.create(shared, data)
        for part, data in look.objects.items():
            self._store.put(f"{name}/{part}", data)
        sums = {part: content_digest(data) for part, data in look.objects.items()}
        record = _Record(stage, place, outside, look.digests, look.manifest, look.splits, sums)
        self._store.put(f"{name}/{_RECORD}", encode(record))


def _folder(stage: str, place: Mapping[str, Any]) -> str:
    return f"{FOLDER}/{stage}-{_digest(place)}"


def _digest(names: Mapping[str, Any]) -> str:
    return fingerprint({"outside": dict(names)})
