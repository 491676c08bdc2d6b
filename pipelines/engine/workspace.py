"""Artifacts and the workspace that holds them: what exists, what is missing, and how a unit is published.

A unit of an artifact exists when `_commits/<unit>.json` exists. The data object behind it has a name used once
(`<unit>-<attempt>.<suffix>`) and is published before the commit; the first commit wins, and the loser's object is
garbage. Readers trust commits only.
"""

from __future__ import annotations

import json
import os
import re
import socket
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

from pipelines.engine.checked_reads import read_again_unless
from pipelines.engine.commits import COMMITS, Commit, Output, library_versions
from pipelines.engine.fingerprint import LENGTH, canonical_json, content_digest
from pipelines.engine.store import Store, StoreUnreachableError, open_store
from sppnet.errors import ArtifactError, ConfigError, IncompleteError
from sppnet.outside import parse_json

FORMAT = 2
"""Of what a workspace holds; raised when artifacts are named or laid out in another way."""
_FORMAT_FILE = "workspace.json"
_ARTIFACT = re.compile(rf"[a-z][a-z0-9-]*-[0-9a-f]{{{LENGTH}}}")
_READERS = 16
_HELD_UP_SECONDS = 600.0
"""Of an attempt between its data and its commit: far less than the age at which `gc` takes data for garbage."""


class Artifact:
    """One folder of the workspace: `<kind>-<fingerprint>`.

    Args:
        store: Where it is.
        name: Its name.
        stored: Whether its units are read; if not, who needs one makes it for itself, see `StageConfig.supplies`.
    """

    def __init__(self, store: Store, name: str, *, stored: bool = True) -> None:
        self.store = store
        self.name = name
        self.stored = stored

    @property
    def kind(self) -> str:
        """What the folder holds, such as `maps`."""
        return self.name.rsplit("-", 1)[0]

    def describe(self, preimage: Mapping[str, Any]) -> None:
        """Record once what the artifact is made from (`artifact.json`), for `sppnet explain`."""
        self.store.create(f"{self.name}/artifact.json", canonical_json(dict(preimage)).encode())

    def preimage(self) -> dict[str, Any]:
        """Read what `describe` recorded; raise `ArtifactError` if it is missing or corrupt."""
        name = f"{self.name}/artifact.json"
        where = f"{self.store.uri}/{name}"
        body = parse_json(self.store.read(name), lambda why: ArtifactError(f"{where} is corrupt: {why}"))
        if not isinstance(body, dict):
            raise ArtifactError(f"{where} is corrupt: not a mapping")
        return body

    def inputs(self, field: str) -> tuple[str, ...]:
        """Names of the artifacts that it was made from, by the config's field; `ArtifactError` like `preimage`."""
        try:
            return tuple(self.preimage()["inputs"][field])
        except (KeyError, TypeError) as error:
            raise ArtifactError(f"{self.store.uri}/{self.name}/artifact.json names no {field}") from error

    def committed(self) -> set[str]:
        """Return the committed units, from one listing."""
        prefix = f"{self.name}/{COMMITS}/"
        return {
            entry.name.removeprefix(prefix).removesuffix(".json")
            for entry in self.store.list(f"{self.name}/{COMMITS}")
            if entry.name.endswith(".json")
        }

    def commit(self, unit: str) -> Commit:
        """Read one unit's commit; raise `ArtifactError` if it is missing, damaged, or that of something else."""
        name = self.commit_name(unit)
        where = f"{self.store.uri}/{name}"
        commit = Commit.from_json(self.store.read(name), where)
        commit.check_names(unit, where)
        return commit

    def commit_name(self, unit: str) -> str:
        """Return the name in the store of a unit's commit."""
        return f"{self.name}/{COMMITS}/{unit}.json"

    def commits(self, units: Iterable[str]) -> list[Commit]:
        """Read several commits at once, in the order of `units`."""
        with ThreadPoolExecutor(_READERS) as pool:
            return list(pool.map(self.commit, units))

    def read(self, unit: str) -> bytes:
        """Read a unit's data object and check it against its commit.

        Raises:
            ArtifactError: The unit is not committed, or its data is missing or altered.
        """
        return self.read_commit(self.commit(unit))

    def read_commit(self, commit: Commit) -> bytes:
        """Read the data object of a commit at hand, like `read`."""
        if commit.data is None:
            raise ArtifactError(f"{self.name}/{commit.unit} has no data")
        name = f"{self.name}/{commit.data}"

        def is_whole(data: bytes) -> bool:
            return len(data) == commit.size and content_digest(data) == commit.sha256

        try:
            data = read_again_unless(is_whole, partial(self.store.read, name), f"{self.store.uri}/{name}")
        except ArtifactError as error:
            raise ArtifactError(f"{error}; remove {COMMITS}/{commit.unit}.json and run again") from error
        if not is_whole(data):
            raise ArtifactError(
                f"{self.store.uri}/{name} is not what was committed "
                f"({len(data)} bytes, expected {commit.size}); remove {COMMITS}/{commit.unit}.json and run again"
            )
        return data

    def publish(self, unit: str, output: Output, seconds: float) -> Commit:
        """Put the data once, then commit it unless another attempt was first.

        Returns:
            The commit that holds: ours, or the earlier winner's.
        """
        attempt = uuid.uuid4().hex[:12]
        name = None
        if output.data is not None:
            name = f"{unit}-{attempt}{output.suffix}"
            self.store.put(f"{self.name}/{name}", output.data)
        put = time.monotonic()
        commit = Commit(
            unit=unit,
            attempt=attempt,
            data=name,
            size=len(output.data or b""),
            sha256=content_digest(output.data) if output.data is not None else None,
            rows=output.rows,
            done=output.done,
            quarantined=output.quarantined,
            seconds=round(seconds, 3),
            metrics=dict(output.metrics),
            host=socket.gethostname(),
            created=round(time.time(), 3),
            versions=library_versions(),
        )
        if self.store.create(self.commit_name(unit), commit.to_json()):
            if name is not None and time.monotonic() - put > _HELD_UP_SECONDS:
                self._check_kept(commit)
            return commit
        winner = self.commit(unit)
        if winner.attempt != attempt and name is not None:
            self.store.delete(f"{self.name}/{name}")
        return winner

    def _check_kept(self, commit: Commit) -> None:
        """Take a commit back whose data was taken for garbage while its process was held up (stopped, or swapped out).

        Raises:
            IncompleteError: It was; the unit is to be made again.
        """
        if not self.store.exists(f"{self.name}/{commit.data}"):
            self.store.delete(self.commit_name(commit.unit))
            raise IncompleteError(f"{self.name}/{commit.unit}: its data was collected before it could be committed")


class Workspace:
    """The root that holds the artifacts of every run."""

    def __init__(self, store: Store) -> None:
        self.store = store

    @classmethod
    def open(cls, uri: str) -> Workspace:
        """Open a workspace by folder or URI."""
        return cls(open_store(uri))

    def artifact(self, name: str) -> Artifact:
        """Return the artifact of that name, whether or not anything of it exists yet."""
        return Artifact(self.store, name)

    def artifact_names(self) -> list[str]:
        """Return the names of all artifacts, sorted, from one listing of the folders."""
        return [name for name in self.store.folders() if _ARTIFACT.fullmatch(name)]

    def check_version(self) -> None:
        """Raise `ArtifactError` if what is here was made by a version of sppnet that names artifacts in another way."""
        with self._reached():
            found = self._format()
        if found is None:
            if not self.artifact_names():
                return  # nothing is here yet
            found = self._format() or 1  # again: another run may have begun between the two looks
        if found != FORMAT:
            raise ArtifactError(
                f"workspace {self.store.uri} has format {found}, this sppnet reads format {FORMAT}: its artifacts are "
                "named in another way; give another workspace, or use the version that made this one"
            )

    def _format(self) -> Any:
        """Return the format that is recorded here, None if there is none; raise `ArtifactError` if that is corrupt."""
        try:
            body = self.store.read(_FORMAT_FILE)
        except ArtifactError:
            return None
        try:
            return json.loads(body)["format"]
        except (ValueError, KeyError, TypeError) as error:
            raise ArtifactError(f"{self.store.uri}/{_FORMAT_FILE} is corrupt: {error}") from error

    def is_marked(self) -> bool:
        """Tell whether anything was ever run here."""
        return self.store.exists(_FORMAT_FILE)

    def mark_version(self) -> None:
        """Record the format of what will be here, once."""
        self.store.create(_FORMAT_FILE, canonical_json({"format": FORMAT}).encode())

    def check_writable(self) -> None:
        """Raise `ConfigError` if nothing can be written here."""
        probe = f"runs/.probe-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        with self._reached():
            self.store.exists(_FORMAT_FILE)  # some servers make a missing bucket when something is put into it
            self.store.put(probe, b"")
        self.store.delete(probe)

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Name a store that doesn't answer at the start as what it is: a wrong address, most of the time."""
        try:
            yield
        except StoreUnreachableError as error:
            raise ConfigError(f"workspace {self.store.uri} can't be reached: {error}") from error
