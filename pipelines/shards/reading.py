"""What every stage that works through shards shares: reading a shard's images and carrying its account along."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from pipelines.artifacts.image_tars import ImageRecord, decode_images
from pipelines.artifacts.manifest import Manifest
from pipelines.engine.workspace import Artifact, Quarantined
from sppnet.errors import ArtifactError
from sppnet.images.decoding import decode_image


def read_images(images: Artifact, unit: str) -> tuple[Iterator[ImageRecord], tuple[Quarantined, ...]]:
    """Opens a shard of images.

    Args:
        images: The images artifact.
        unit: The shard, `<split>/<number>`.

    Returns:
        The records in order, and the keys that ingest set aside.
    """
    commit = images.commit(unit)
    return decode_images(images.read_commit(commit), f"{images.name}/{unit}"), commit.quarantined


def decode_record(record: ImageRecord) -> npt.NDArray[np.uint8]:
    """Decodes a record's image to `[H, W, 3]` RGB; its size was checked at ingest and bounds the decoder here."""
    pixels = record.annotation.width * record.annotation.height
    return decode_image(record.data, max_pixels=pixels, min_side=1)


def splits_units(manifest: Manifest, splits: tuple[str, ...]) -> tuple[str, ...]:
    """All shards of several splits."""
    return tuple(unit for split in splits for unit in manifest.units(split))


def map_unit(scale: int, unit: str, *, flipped: bool = False) -> str:
    """Name of the maps unit of a shard at a scale: `s0688/train/000000`, or `s0688f/...` of its mirrored images."""
    return f"s{scale:04d}{'f' if flipped else ''}/{unit}"


def parse_map_unit(unit: str) -> tuple[int, str, bool]:
    """The scale, the shard, and whether its images are mirrored, of a maps unit."""
    head, _, shard = unit.partition("/")
    return int(head.strip("sf")), shard, head.endswith("f")


def check_account(unit: str, keys: tuple[str, ...], done: int, quarantined: tuple[Quarantined, ...]) -> None:
    """Raises `ArtifactError` unless every key of the shard is done or quarantined."""
    if done + len(quarantined) != len(keys):
        raise ArtifactError(
            f"shard {unit}: {done} keys done and {len(quarantined)} quarantined, but the manifest has {len(keys)}; "
            "its input is short: remove the short commit of its input and run again"
        )
