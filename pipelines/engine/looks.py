"""What steps found outside the workspace: data sets and files, as they were when they were last looked at.

A look is kept in the workspace (`looks/<what>/<when>-<id>/look.json`, with objects that the next look builds on beside
it). So a run that finds nothing changed reads nothing again, and what a finished run left can be used after its data
set has gone. A look is written once; the newest one counts.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipelines.engine.codec import decode, encode
from pipelines.engine.fingerprint import fingerprint
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
        changed: Whether there is anything in it that the look before did not have.
    """

    digests: Mapping[str, Any] = field(default_factory=dict)
    manifest: str = ""
    splits: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    objects: Mapping[str, bytes] = field(default_factory=dict)
    shared: Mapping[str, bytes] = field(default_factory=dict)
    changed: bool = True


@dataclass(frozen=True, slots=True)
class PastLook:
    """A look that a workspace keeps.

    Attributes:
        store: The workspace's store.
        name: The look's folder.
        look: What was found; its objects are read when they are asked for.
    """

    store: Store
    name: str
    look: Look

    def read(self, name: str) -> bytes:
        """Read one of its objects; raises `ArtifactError` if it is missing."""
        return self.store.read(f"{self.name}/{name}")


@dataclass(frozen=True, slots=True)
class _Record:
    """A look as it is stored."""

    stage: str
    outside: Mapping[str, Any]
    digests: Mapping[str, Any]
    manifest: str
    splits: Mapping[str, Mapping[str, str]]


class LookBook:
    """The looks of a workspace.

    Args:
        store: The workspace's store.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def last(self, stage: str, outside: Mapping[str, Any]) -> PastLook | None:
        """Return the newest look of a stage at what `outside` names, if there is one.

        Raises:
            ArtifactError: Its record is corrupt.
        """
        folder = _folder(stage, outside)
        records = [entry.name for entry in self._store.list(folder) if entry.name.endswith(f"/{_RECORD}")]
        if not records:
            return None
        name = max(records)
        try:
            record = decode(_Record, self._store.read(name), f"{self._store.uri}/{name}")
        except ArtifactError as error:
            raise ArtifactError(f"{error}; remove it and run again") from error
        look = Look(record.digests, record.manifest, record.splits, changed=False)
        return PastLook(self._store, name.removesuffix(f"/{_RECORD}"), look)

    def record(self, stage: str, outside: Mapping[str, Any], look: Look) -> None:
        """Keep a look, its record last: a look that is cut off by a kill is none."""
        seconds, rest = divmod(time.time_ns(), 1_000_000_000)
        when = time.strftime("%Y%m%dT%H%M%S", time.gmtime(seconds))
        name = f"{_folder(stage, outside)}/{when}.{rest:09d}-{uuid.uuid4().hex[:6]}"
        for shared, data in look.shared.items():
            self._store.create(shared, data)
        for part, data in look.objects.items():
            self._store.put(f"{name}/{part}", data)
        record = _Record(stage, outside, look.digests, look.manifest, look.splits)
        self._store.put(f"{name}/{_RECORD}", encode(record))


def _folder(stage: str, outside: Mapping[str, Any]) -> str:
    return f"{FOLDER}/{stage}-{fingerprint({'outside': dict(outside)})}"
