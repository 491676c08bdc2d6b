"""PASCAL VOC's layout: `JPEGImages`, `Annotations`, `ImageSets/Main`. ILSVRC DET's annotations are alike."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Protocol
from xml.etree.ElementTree import Element, ParseError
from xml.sax.saxutils import escape

from pipelines.datasets.annotations import ImageAnnotation, ObjectAnnotation
from sppnet.errors import ArtifactError, ConfigError, DataError

VOC_CATEGORIES = (
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
"""The twenty of VOC2007 to VOC2012, in their official order."""

IMAGE_EXTENSIONS = ("jpg", "JPEG", "jpeg", "png")
"""Tried in this order, so that the usual one costs one request."""

_READERS = 16


class Named(Protocol):
    """An object of a listing."""

    @property
    def name(self) -> str:
        """Its path below the reader's root."""

    @property
    def size(self) -> int:
        """Its bytes."""


class Reader(Protocol):
    """What a data set is read through: `pipelines.store.Store`, or anything like it."""

    def read(self, name: str) -> bytes:
        """The object's bytes. Raises `ArtifactError` or `FileNotFoundError` if there is none."""

    def list(self, prefix: str = "") -> Sequence[Named]:
        """All objects below the folder `prefix`, their names relative to the root."""


def parse_voc_xml(
    data: bytes, key: str, categories: frozenset[str] | None = None, *, first_pixel: int = 1
) -> ImageAnnotation:
    """Parses one annotation file of VOC or ILSVRC DET.

    Args:
        data: The file.
        key: The image's key; the file's own `<filename>` is not trusted.
        categories: Those that an object may name; None allows any.
        first_pixel: The coordinate of an image's first pixel: 1 in VOC, 0 in ILSVRC's original files. Boxes are
            inclusive in both, so `xmin..xmax` becomes `[xmin - first_pixel, xmax - first_pixel + 1)`.

    Raises:
        DataError: `bad-annotation` (not such a file), or see `ImageAnnotation.checked`.
    """
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    try:
        root: Element = fromstring(data)
        size = _child(root, "size")
        annotation = ImageAnnotation(
            key=key,
            width=int(_number(size, "width")),
            height=int(_number(size, "height")),
            objects=tuple(_parse_object(item, first_pixel) for item in root.iter("object")),
        )
    except (ParseError, DefusedXmlException, ValueError, OverflowError) as error:
        raise DataError("bad-annotation", f"{key}: {error}") from error
    return annotation.checked(categories)


def format_voc_xml(annotation: ImageAnnotation, extension: str = "jpg") -> str:
    """The annotation as VOC's XML, 1-based and inclusive, with ILSVRC's `<subcategory>`: what `parse_voc_xml` reads."""
    lines = [
        "<annotation>",
        f"\t<filename>{escape(annotation.key)}.{extension}</filename>",
        f"\t<size><width>{annotation.width}</width><height>{annotation.height}</height><depth>3</depth></size>",
    ]
    for thing in annotation.objects:
        corners = (thing.box[0] + 1, thing.box[1] + 1, thing.box[2], thing.box[3])
        tags = zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
        lines += [
            "\t<object>",
            f"\t\t<name>{escape(thing.category)}</name>",
            *([f"\t\t<subcategory>{escape(thing.subcategory)}</subcategory>"] if thing.subcategory else []),
            f"\t\t<truncated>{int(thing.truncated)}</truncated>",
            f"\t\t<difficult>{int(thing.difficult)}</difficult>",
            "\t\t<bndbox>" + "".join(f"<{tag}>{_plain(value)}</{tag}>" for tag, value in tags) + "</bndbox>",
            "\t</object>",
        ]
    return "\n".join([*lines, "</annotation>"]) + "\n"


def _plain(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))


def _parse_object(item: Element, first_pixel: int) -> ObjectAnnotation:
    box = _child(item, "bndbox")
    low = first_pixel
    return ObjectAnnotation(
        category=_text(item, "name"),
        box=(
            _number(box, "xmin") - low,
            _number(box, "ymin") - low,
            _number(box, "xmax") - low + 1,
            _number(box, "ymax") - low + 1,
        ),
        subcategory=(item.findtext("subcategory") or "").strip() or None,
        difficult=_flag(item, "difficult"),
        truncated=_flag(item, "truncated"),
    )


def _child(parent: Element, tag: str) -> Element:
    found = parent.find(tag)
    if found is None:
        raise ValueError(f"no <{tag}> in <{parent.tag}>")
    return found


def _text(parent: Element, tag: str) -> str:
    text = (_child(parent, tag).text or "").strip()
    if not text:
        raise ValueError(f"empty <{tag}> in <{parent.tag}>")
    return text


def _number(parent: Element, tag: str) -> float:
    text = _text(parent, tag)
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"<{tag}> of <{parent.tag}> is {text[:40]!r}, not a number") from None


def _flag(item: Element, tag: str) -> bool:
    return (item.findtext(tag) or "0").strip().lower() in ("1", "true")


class VocFolder:
    """A folder in VOC's layout.

    Args:
        reader: Gives the folder's objects by their paths below it.
        first_pixel: See `parse_voc_xml`.
    """

    def __init__(self, reader: Reader, *, first_pixel: int = 1) -> None:
        self._reader = reader
        self._first_pixel = first_pixel

    def split(self, name: str) -> list[str]:
        """Keys of `ImageSets/Main/<name>.txt`, in its order; a second column, as in per-class lists, is ignored.

        Raises:
            ConfigError: No such list, an empty one, a key twice, or a key that can't name a file.
        """
        path = f"ImageSets/Main/{name}.txt"
        text = self._find(path)
        if text is None:
            raise ConfigError(f"no split {name!r}: {self._describe(path)} does not exist")
        lines = (line.split() for line in text.decode("utf-8", "replace").splitlines())
        keys = [columns[0] for columns in lines if columns]
        if not keys:
            raise ConfigError(f"split {name!r} is empty: {self._describe(path)}")
        seen: set[str] = set()
        for key in keys:
            if key in seen:
                raise ConfigError(f"{self._describe(path)} lists {key!r} twice")
            # A tar member's name ends at its first dot.
            if "." in key or key.startswith("/") or "\\" in key:
                raise ConfigError(f"{self._describe(path)}: {key!r} can't be a key: no dots, no absolute paths")
            seen.add(key)
        return keys

    def categories(self) -> tuple[str, ...]:
        """Those of the folder's `categories.txt`, one a line, or VOC's twenty if it has none.

        Raises:
            ConfigError: The file is empty or names a category twice.
        """
        text = self._find("categories.txt")
        return VOC_CATEGORIES if text is None else parse_categories(text, self._describe("categories.txt"))

    def load(self, key: str, categories: frozenset[str] | None = None) -> tuple[bytes, str, ImageAnnotation]:
        """Reads one image and its annotation.

        Returns:
            The image's bytes, untouched; its extension, lower case, without the dot; the annotation.

        Raises:
            DataError: `missing-image`, `missing-annotation`, or see `parse_voc_xml`.
        """
        for extension in IMAGE_EXTENSIONS:
            data = self._find(f"JPEGImages/{key}.{extension}")
            if data is not None:
                return data, extension.lower(), self._annotation(key, categories)
        raise DataError("missing-image", f"{key}: none of JPEGImages/{key}.({'|'.join(IMAGE_EXTENSIONS)})")

    def listing(self, keys: Iterable[str]) -> list[tuple[str, str | None, int, str | None]]:
        """What tells two data sets apart, without reading an image.

        Returns:
            For each key: the key, its image's file name, that file's bytes and the sha256 of its annotation file.
            A missing image has the name None and 0 bytes, a missing annotation the digest None.
        """
        images = self._images

        def row(key: str) -> tuple[str, str | None, int, str | None]:
            names = (f"{key}.{extension}" for extension in IMAGE_EXTENSIONS)
            name = next((name for name in names if name in images), None)
            text = self._find(f"Annotations/{key}.xml")
            digest = None if text is None else hashlib.sha256(text).hexdigest()
            return key, name, images[name] if name else 0, digest

        with ThreadPoolExecutor(_READERS) as pool:
            return list(pool.map(row, keys))

    @cached_property
    def _images(self) -> dict[str, int]:
        """Bytes of every image by its path below `JPEGImages`."""
        return {posixpath.relpath(item.name, "JPEGImages"): item.size for item in self._reader.list("JPEGImages")}

    def _annotation(self, key: str, categories: frozenset[str] | None) -> ImageAnnotation:
        text = self._find(f"Annotations/{key}.xml")
        if text is None:
            raise DataError("missing-annotation", f"{key}: no Annotations/{key}.xml")
        return parse_voc_xml(text, key, categories, first_pixel=self._first_pixel)

    def _find(self, name: str) -> bytes | None:
        try:
            return self._reader.read(name)
        except (ArtifactError, FileNotFoundError):
            return None

    def _describe(self, name: str) -> str:
        root = getattr(self._reader, "uri", None)
        return f"{root}/{name}" if root else name


def parse_categories(text: bytes, where: str) -> tuple[str, ...]:
    """Parses a list of categories, one a line; raises `ConfigError` naming `where` for an empty or doubled list."""
    names = [line.strip() for line in text.decode("utf-8", "replace").splitlines() if line.strip()]
    if not names:
        raise ConfigError(f"{where} holds no categories")
    doubled = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if doubled is not None:
        raise ConfigError(f"{where} names the category {doubled!r} twice")
    return tuple(names)
