"""What of ILSVRC DET's annotation files is kept: leaves are found, boxes without area set aside (section 4.5)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, cast

from pipelines.artifacts.annotations import Box, ImageAnnotation, ObjectAnnotation
from pipelines.datasets.contents import JSON
from pipelines.datasets.det_hierarchy import DetHierarchy
from pipelines.datasets.voc_xml import read_voc_xml
from pipelines.engine.fingerprint import canonical_json, content_digest
from sppnet.errors import DataError

BadBoxes: TypeAlias = Literal["quarantine", "drop"]
Subcategories: TypeAlias = Literal["leaf", "leaf-only", "none"]

SUMMARY = "det-xml"
"""The kind of summary that `summarise` makes."""

_AREA: Box = (0.0, 0.0, 2.0, 2.0)
_NO_AREA: Box = (0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Keeping:
    """What of an annotation is kept.

    Attributes:
        hierarchy: Categories and leaves.
        subcategories: See `DetDataset`.
        bad_boxes: See `DetDataset`.
        first_pixel: See `DetDataset`.
    """

    hierarchy: DetHierarchy
    subcategories: Subcategories
    bad_boxes: BadBoxes
    first_pixel: int

    def options(self) -> dict[str, Any]:
        """Return all that changes what is made of a file, as JSON values."""
        leaves = [[leaf.synset.wnid, leaf.category.wnid] for leaf in self.hierarchy.leaves]
        return {
            "subcategories": self.subcategories,
            "bad_boxes": self.bad_boxes,
            "first_pixel": self.first_pixel,
            "leaves": None if self.subcategories == "none" else content_digest(canonical_json(leaves).encode()),
        }

    def read(self, text: bytes, key: str) -> ImageAnnotation:
        """Parse an annotation file.

        Raises:
            DataError: `bad-annotation`; `bad-box`, unless such objects are dropped.
        """
        annotation = read_voc_xml(text, key, first_pixel=self.first_pixel)
        return replace(annotation, objects=tuple(self._kept(annotation.objects, key)))

    def categories(self, summary: JSON, key: str) -> list[str]:
        """Return the categories of the objects that `read` would keep; none if it would raise, or for no summary."""
        objects = cast(dict[str, Any], summary or {"objects": []})["objects"]
        things = [ObjectAnnotation(name, _AREA if area else _NO_AREA, tag) for name, tag, area in objects]
        try:
            return [thing.category for thing in self._kept(things, key)]
        except DataError:  # the image will be quarantined
            return []

    def _kept(self, things: Iterable[ObjectAnnotation], key: str) -> Iterator[ObjectAnnotation]:
        for thing in things:
            if not _has_area(thing.box):
                if self.bad_boxes == "drop":
                    continue
                raise DataError("bad-box", f"{key}: {thing.category} at {list(thing.box)} has no area")
            leaf = self.hierarchy.leaf_of(thing.category, thing.subcategory, key)
            if self.subcategories != "leaf-only" or leaf is not None:
                yield replace(thing, subcategory=None if self.subcategories == "none" else leaf)


def summarise(text: bytes) -> JSON:
    """Summarise an annotation file: its digest, and each object's category, own subcategory and whether it has area.

    A file that can't be read has no objects here.
    """
    try:
        things = read_voc_xml(text, "").objects
    except DataError:
        things = ()
    objects: list[JSON] = [[thing.category, thing.subcategory, _has_area(thing.box)] for thing in things]
    return {"digest": content_digest(text), "objects": objects}


def digest_of(summary: JSON) -> str | None:
    """Return the digest of the file that `summarise` was given; None for one that couldn't be read."""
    return None if summary is None else str(cast(dict[str, Any], summary)["digest"])


def _has_area(box: Box) -> bool:
    x0, y0, x1, y1 = box
    return x1 - x0 > 1 and y1 - y0 > 1  # inclusive: the last pixel is not beyond the first
