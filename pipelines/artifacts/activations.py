"""What an `activations` artifact holds: each filter's strongest responses, a unit a shard and one of all shards."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pipelines.engine.codec import encode
from pipelines.engine.records import read_unit
from pipelines.engine.workspace import Artifact

UNIT = "activations"
"""The unit that holds the result."""


@dataclass(frozen=True, slots=True)
class Patch:
    """Where a filter responds strongly.

    Attributes:
        key: The image's key.
        shard: Its shard.
        scale: Short side in pixels at which the response is that strong.
        cell: `(cx, cy)` of the map, 0-based.
        value: The response.
        box: The cell's receptive field, pixels of the original image, not clipped.
    """

    key: str
    shard: str
    scale: int
    cell: tuple[int, int]
    value: float
    box: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class FilterPatches:
    """One filter's strongest responses, strongest first, at most one an image; none for a filter that is silent."""

    filter: int
    patches: tuple[Patch, ...]


@dataclass(frozen=True, slots=True)
class _Activations:
    filters: tuple[FilterPatches, ...]


def encode_activations(rows: Iterable[FilterPatches]) -> bytes:
    """Encode the filters' responses, in the order in which they are shown."""
    return encode(_Activations(tuple(rows)))


def read_activations(artifact: Artifact, unit: str = UNIT) -> tuple[FilterPatches, ...]:
    """Read a unit's responses, by default those of all shards; raise `ArtifactError` if it is missing or corrupt."""
    return read_unit(_Activations, artifact, unit).filters
