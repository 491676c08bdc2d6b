"""Small objects of an artifact: those beside its units, and units whose data is one."""

from __future__ import annotations

from typing import Any, TypeVar

from pipelines.engine.codec import decode, encode
from pipelines.engine.workspace import Artifact

T = TypeVar("T")


def write_once(artifact: Artifact, name: str, value: Any) -> None:
    """Record a value beside an artifact's units, unless it is recorded already."""
    artifact.store.create(f"{artifact.name}/{name}", encode(value))


def read_beside(kind: type[T], artifact: Artifact, name: str) -> T:
    """Read what `write_once` recorded; raise `ArtifactError` if it is missing or corrupt."""
    place = f"{artifact.name}/{name}"
    return decode(kind, artifact.store.read(place), f"{artifact.store.uri}/{place}")


def read_unit(kind: type[T], artifact: Artifact, unit: str) -> T:
    """Read a unit whose data is an encoded value; raise `ArtifactError` if it is missing or corrupt."""
    return decode(kind, artifact.read(unit), f"{artifact.name}/{unit}")
