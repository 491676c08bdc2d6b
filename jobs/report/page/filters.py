"""Draws what filters respond to (figure 2): each filter's strongest images with the receptive field on them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from jobs.report.plots.pictures import FieldPicture, draw_field
from pipelines.artifacts.activations import FilterPatches, Patch, read_activations
from pipelines.artifacts.image_tars import ImageRecord
from pipelines.engine.workspace import Artifact
from pipelines.shards.reading import decode_record, read_images
from sppnet.arrays import Pixels
from sppnet.errors import ArtifactError

FILTERS_SHOWN = 16
PATCHES_SHOWN = 8


@dataclass(frozen=True, slots=True)
class FilterRow:
    """One filter of the last convolution and the images that it responds to most, strongest first."""

    filter: int
    pictures: tuple[FieldPicture, ...]


@dataclass(frozen=True, slots=True)
class FilterGallery:
    """What one `activations` step found (figure 2).

    Attributes:
        step: The step's name.
        splits: The splits that it looked through.
        rows: A row per filter.
        left_out: Filters that are not shown.
    """

    step: str
    splits: tuple[str, ...]
    rows: tuple[FilterRow, ...]
    left_out: int = 0


def make_filter_gallery(step: str, splits: tuple[str, ...], activations: Artifact, images: Artifact) -> FilterGallery:
    """Read an `activations` artifact and the images that it names, and draw them.

    Args:
        step: The step's name.
        splits: The splits that it looked through.
        activations: What it made.
        images: The images that it looked through.

    Raises:
        ArtifactError: The result or a shard is missing or corrupt, or a shard lacks an image.
    """
    found = read_activations(activations)
    shown = [FilterPatches(row.filter, row.patches[:PATCHES_SHOWN]) for row in found[:FILTERS_SHOWN]]
    records = _records(images, (patch for row in shown for patch in row.patches))
    rows = tuple(FilterRow(row.filter, tuple(_draw(patch, records) for patch in row.patches)) for row in shown)
    return FilterGallery(step, splits, rows, len(found) - len(rows))


def _records(images: Artifact, patches: Iterable[Patch]) -> dict[str, ImageRecord]:
    """Read the images that are to be drawn, one read a shard."""
    wanted: dict[str, set[str]] = {}
    for patch in patches:
        wanted.setdefault(patch.shard, set()).add(patch.key)
    records: dict[str, ImageRecord] = {}
    for shard, keys in sorted(wanted.items()):
        records |= {record.key: record for record in read_images(images, shard)[0] if record.key in keys}
        missing = keys - records.keys()
        if missing:
            raise ArtifactError(f"{images.name}/{shard} has no image {min(missing)}")
    return records


def _draw(patch: Patch, records: dict[str, ImageRecord]) -> FieldPicture:
    pixels: Pixels = decode_record(records[patch.key])
    return draw_field(patch.key, pixels, patch.box, patch.value)
