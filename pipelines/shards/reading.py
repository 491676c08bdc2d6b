"""Reading a shard of images: its records, their pixels, what is annotated in them; and the names of its maps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from pipelines.artifacts.annotations import ImageAnnotation
from pipelines.artifacts.image_tars import ImageRecord, decode_images
from pipelines.artifacts.manifest import Manifest
from pipelines.engine.workspace import Artifact, Quarantined
from sppnet.images.pixels import decode_image

ScaleField = Annotated[int, Field(ge=1, le=9999)]
"""A scale, or another short side in pixels, of at most four digits, as the names of maps have it."""


def read_images(images: Artifact, unit: str) -> tuple[Iterator[ImageRecord], tuple[Quarantined, ...]]:
    """Open a shard of images.

    Args:
        images: The images artifact.
        unit: The shard.

    Returns:
        The records in order, and the keys that ingest set aside.
    """
    commit = images.commit(unit)
    return decode_images(images.read_commit(commit), f"{images.name}/{unit}"), commit.quarantined


def read_annotations(images: Artifact, unit: str) -> dict[str, ImageAnnotation]:
    """Read what is annotated in a shard's images.

    Args:
        images: The images artifact.
        unit: The shard.

    Returns:
        By key, in the shard's order; keys that ingest set aside have none.
    """
    return {record.key: record.annotation for record in read_images(images, unit)[0]}


def decode_record(record: ImageRecord) -> npt.NDArray[np.uint8]:
    """Decode a record's image to `[H, W, 3]` RGB; its size was checked at ingest and bounds the decoder here."""
    pixels = record.annotation.width * record.annotation.height
    return decode_image(record.data, max_pixels=pixels, min_side=1)


def splits_units(manifest: Manifest, splits: Iterable[str]) -> tuple[str, ...]:
    """Return all shards of several splits, in order, each once; raise `ConfigError` for an unknown split."""
    return tuple(dict.fromkeys(unit for split in splits for unit in manifest.units(split)))


def map_unit(scale: int, unit: str, *, flipped: bool = False) -> str:
    """Return the name of a shard's maps at a scale: `s0688/<shard>`, or `s0688f/<shard>` of its mirrored images."""
    return f"s{scale:04d}{'f' if flipped else ''}/{unit}"


def parse_map_unit(unit: str) -> tuple[int, str, bool]:
    """Return the scale, the shard, and whether its images are mirrored, of a maps unit."""
    head, _, shard = unit.partition("/")
    return int(head.strip("sf")), shard, head.endswith("f")
