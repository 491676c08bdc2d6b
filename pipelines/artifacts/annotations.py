"""What is known of an image: its size and its objects. Every data set's layout is read into this."""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, TypeVar, cast

from pipelines.engine.fingerprint import canonical_json
from sppnet.errors import ArtifactError, DataError
from sppnet.sizes import Size

Box: TypeAlias = tuple[float, float, float, float]
"""0-based half-open pixels `(x0, y0, x1, y1)` of the stored image."""

Number: TypeAlias = int | str
"""What a data set calls an image or a category in its own files: COCO's `id`, which some have as text."""

T = TypeVar("T")

MAX_OVERHANG = 1.0
"""Pixels by which a box may leave its image and be clipped; one that leaves it further is an error."""


@dataclass(frozen=True, slots=True)
class ObjectAnnotation:
    """One object of an image.

    Attributes:
        category: What detection is asked to find.
        box: 0-based half-open pixels `(x0, y0, x1, y1)`.
        subcategory: The finer class that pre-training tells apart, if the data set has one.
        difficult: Left out of the score, by VOC's rules.
        truncated: The object goes on beyond the box.
        crowd: The box is a region with many objects, in which no detection is wrong (COCO's `iscrowd`, Open Images'
            `IsGroupOf`); such a one is `difficult` too.
        area: Of the object's outline, square pixels, where the data set tells it; COCO sorts objects by it.
    """

    category: str
    box: Box
    subcategory: str | None = None
    difficult: bool = False
    truncated: bool = False
    crowd: bool = False
    area: float | None = None


@dataclass(frozen=True, slots=True)
class ImageAnnotation:
    """An image's size in pixels and its objects, in the order of the data set's file.

    Attributes:
        key: The image's key in its data set.
        width: Pixels, as the annotation says.
        height: Pixels, as the annotation says.
        objects: May be empty: such an image gives negatives.
        index: The image's number in its data set, where one is given (ILSVRC: 1 to 20121; COCO's `id`, which may be
            text).
        ignored: Categories whose objects and detections in this image are not judged (ILSVRC's blacklist).
    """

    key: str
    width: int
    height: int
    objects: tuple[ObjectAnnotation, ...]
    index: Number | None = None
    ignored: tuple[str, ...] = ()

    @property
    def size(self) -> Size:
        """Width and height in pixels."""
        return Size(self.width, self.height)

    def checked(self, categories: frozenset[str] | None = None) -> ImageAnnotation:
        """Return the annotation with its boxes inside the image.

        Args:
            categories: Those that an object may name; None allows any.

        Raises:
            DataError: `bad-box` (empty, reversed or not finite), `box-outside-image` (by more than a pixel),
                `unknown-category`, `bad-annotation` (a size that no image has).
        """
        if self.width < 1 or self.height < 1:
            raise DataError("bad-annotation", f"{self.key}: size {self.width} x {self.height}")
        return replace(self, objects=tuple(self._checked(thing, categories) for thing in self.objects))

    def check_size(self, width: int, height: int) -> None:
        """Raise `DataError("size-mismatch")` if the image's own header says another size, in pixels."""
        if (width, height) != (self.width, self.height):
            raise DataError(
                "size-mismatch",
                f"{self.key}: the annotation says {self.width} x {self.height}, the image is {width} x {height}"
                + turned(self.size, Size(width, height)),
            )

    def _checked(self, thing: ObjectAnnotation, categories: frozenset[str] | None) -> ObjectAnnotation:
        where = f"{self.key}: {thing.category} at {list(thing.box)}"
        if categories is not None and thing.category not in categories:
            raise DataError("unknown-category", f"{self.key}: {thing.category!r} is not a category of this data set")
        x0, y0, x1, y1 = thing.box
        if not all(map(math.isfinite, thing.box)) or x1 <= x0 or y1 <= y0:
            raise DataError("bad-box", f"{where} has no area")
        if min(x0, y0, self.width - x1, self.height - y1) < -MAX_OVERHANG:
            raise DataError("box-outside-image", f"{where} leaves the image of {self.width} x {self.height}")
        box = (max(x0, 0.0), max(y0, 0.0), min(x1, float(self.width)), min(y1, float(self.height)))
        if box[2] <= box[0] or box[3] <= box[1]:
            raise DataError("bad-box", f"{where} has no area inside the image of {self.width} x {self.height}")
        return replace(thing, box=box)

    def to_json(self) -> dict[str, Any]:
        """Return the annotation as plain JSON values; those that few data sets have only where there are any."""
        extra: dict[str, Any] = {} if self.index is None else {"index": self.index}
        if self.ignored:
            extra["ignored"] = list(self.ignored)
        return {
            **extra,
            "key": self.key,
            "width": self.width,
            "height": self.height,
            "objects": [
                {
                    "category": thing.category,
                    "box": list(thing.box),
                    "subcategory": thing.subcategory,
                    "difficult": thing.difficult,
                    "truncated": thing.truncated,
                    **({"crowd": True} if thing.crowd else {}),
                    **({} if thing.area is None else {"area": thing.area}),
                }
                for thing in self.objects
            ],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ImageAnnotation:
        """Read what `to_json` gave.

        Raises:
            ValueError: `value` is something else; the message names the field.
        """
        objects = _field(value, "objects", list)
        ignored = _field(value, "ignored", list) if "ignored" in value else []
        if not all(isinstance(category, str) and _is_text(category) for category in ignored):
            raise ValueError(f"annotation field 'ignored' must hold strings, got {reprlib.repr(ignored)}")
        return cls(
            key=_field(value, "key", str),
            width=_field(value, "width", int),
            height=_field(value, "height", int),
            objects=tuple(_object_from_json(item) for item in objects),
            index=_index(value),
            ignored=tuple(ignored),
        )


def turned(said: Size, found: Size) -> str:
    """Return a hint for messages where what was said of an image fits the picture turned by a quarter."""
    if said != (found.height, found.width):
        return ""
    return ": it is of the turned picture, but pixels and boxes are those stored, without EXIF's orientation"


def _object_from_json(value: Any) -> ObjectAnnotation:
    box = _field(value, "box", list)
    if len(box) != 4 or not all(type(edge) in (int, float) for edge in box):
        raise ValueError(f"annotation field 'box' must hold 4 numbers, got {reprlib.repr(box)}")
    subcategory = None if value.get("subcategory") is None else _field(value, "subcategory", str)
    return ObjectAnnotation(
        category=_field(value, "category", str),
        box=cast(Box, tuple(map(_edge, box))),
        subcategory=subcategory,
        difficult=_field(value, "difficult", bool),
        truncated=_field(value, "truncated", bool),
        crowd=_field(value, "crowd", bool) if "crowd" in value else False,
        area=float(_field(value, "area", float)) if "area" in value else None,
    )


def _index(value: Mapping[str, Any]) -> Number | None:
    found = value.get("index")
    if found is not None and type(found) not in (int, str):
        raise ValueError(f"annotation field 'index' must be a number or a string, got {found!r}")
    return cast("Number | None", found)


def _field(value: Any, name: str, kind: type[T]) -> T:
    if not isinstance(value, Mapping) or name not in value:
        raise ValueError(f"annotation without the field {name!r}")
    found = value[name]
    if type(found) is not kind:  # isinstance would take True for a width
        raise ValueError(f"annotation field {name!r} must be {kind.__name__}, got {reprlib.repr(found)}")
    if isinstance(found, str) and not _is_text(found):
        raise ValueError(f"annotation field {name!r} holds half a character (a lone surrogate)")
    return found


def _edge(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        raise ValueError("annotation field 'box' holds a number that is too large") from None


def _is_text(value: str) -> bool:
    """Tell whether a string can be written: JSON's escapes can spell what no encoding has."""
    return not any("\ud800" <= mark <= "\udfff" for mark in value)


def encode_annotations(annotations: Iterable[ImageAnnotation]) -> bytes:
    """Encode the annotations of a shard's images as JSON, in order; equal annotations give equal bytes."""
    return canonical_json([annotation.to_json() for annotation in annotations]).encode()


def decode_annotations(data: bytes, where: str) -> dict[str, ImageAnnotation]:
    """Decode what `encode_annotations` gave, by key; raises `ArtifactError` naming `where` if it is something else."""
    try:
        found = [ImageAnnotation.from_json(value) for value in json.loads(data)]
    except (ValueError, TypeError) as error:
        raise ArtifactError(f"{where}: not readable annotations ({error})") from error
    return {annotation.key: annotation for annotation in found}
