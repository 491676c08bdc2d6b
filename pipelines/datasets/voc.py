"""PASCAL VOC's layout: `JPEGImages`, `Annotations`, `ImageSets/Main`. ILSVRC DET's annotations are alike."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal
from xml.etree.ElementTree import Element, ParseError
from xml.sax.saxutils import escape

from pipelines.artifacts.annotations import ImageAnnotation, ObjectAnnotation
from pipelines.datasets.folder_files import IMAGE_EXTENSIONS, Folder, Reader
from pipelines.datasets.keys import Shards, check_keys, cut, parse_categories, parse_list
from pipelines.datasets.sources import DatasetConfig, RawImage
from pipelines.engine.store import open_store
from sppnet.errors import ConfigError, DataError

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


def parse_voc_xml(
    data: bytes, key: str, categories: frozenset[str] | None = None, *, first_pixel: int = 1
) -> ImageAnnotation:
    """Parses and checks one annotation file of VOC or ILSVRC DET.

    Args:
        data: The file.
        key: The image's key; the file's own `<filename>` is not trusted.
        categories: Those that an object may name; None allows any.
        first_pixel: The coordinate of an image's first pixel: 1 in VOC, 0 in ILSVRC's original files. Boxes are
            inclusive in both, so `xmin..xmax` becomes `[xmin - first_pixel, xmax - first_pixel + 1)`.

    Raises:
        DataError: `bad-annotation` (not such a file), or see `ImageAnnotation.checked`.
    """
    return read_voc_xml(data, key, first_pixel=first_pixel).checked(categories)


def read_voc_xml(data: bytes, key: str, *, first_pixel: int = 1) -> ImageAnnotation:
    """Parses one annotation file like `parse_voc_xml`, boxes and categories unchecked.

    Raises:
        DataError: `bad-annotation`.
    """
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    try:
        root: Element = fromstring(data)
        size = _child(root, "size")
        return ImageAnnotation(
            key=key,
            width=int(_number(size, "width")),
            height=int(_number(size, "height")),
            objects=tuple(_parse_object(item, first_pixel) for item in root.iter("object")),
        )
    except (ParseError, DefusedXmlException, ValueError, OverflowError) as error:
        raise DataError("bad-annotation", f"{key}: {error}") from error


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


class VocDataset(DatasetConfig):
    """A folder in PASCAL VOC's layout.

    Attributes:
        kind: `voc`.
        root: Folder or object-store prefix that holds `Annotations`, `ImageSets/Main` and `JPEGImages`.
        splits: Names of lists in `ImageSets/Main`.
        categories: Categories that annotations may name; by default those of the folder's `categories.txt`,
            or else VOC's twenty.
        first_pixel: The coordinate of an image's first pixel: 1 in VOC, 0 in ILSVRC's own files.
    """

    kind: Literal["voc"] = "voc"
    splits: tuple[str, ...] = ("train", "val")
    categories: tuple[str, ...] | None = None
    first_pixel: Literal[0, 1] = 1

    def open(self) -> VocFolder:
        """See `DatasetConfig.open`."""
        return VocFolder(
            open_store(self.root), first_pixel=self.first_pixel, splits=self.splits, categories=self.categories
        )


class VocFolder:
    """A folder in VOC's layout.

    Args:
        reader: Gives the folder's objects by their paths below it.
        first_pixel: See `parse_voc_xml`.
        splits: Those to ingest.
        categories: See `VocDataset`.
    """

    def __init__(
        self,
        reader: Reader,
        *,
        first_pixel: int = 1,
        splits: Sequence[str] = (),
        categories: Sequence[str] | None = None,
    ) -> None:
        self._folder = Folder(reader)
        self._first_pixel = first_pixel
        self._categories = categories
        self.splits = tuple(splits)

    def split(self, name: str) -> list[str]:
        """Keys of `ImageSets/Main/<name>.txt`, in its order; a second column, as in per-class lists, is ignored.

        Raises:
            ConfigError: No such list, an empty one, a key twice, or a key that can't name a file.
        """
        path = f"ImageSets/Main/{name}.txt"
        keys = [columns[0] for columns in parse_list(self._folder.need(path, f"split {name!r}"))]
        if not keys:
            raise ConfigError(f"split {name!r} is empty: {self._folder.where(path)}")
        check_keys(keys, self._folder.where(path))
        return keys

    def shards(self, split: str, size: int) -> Shards:
        """See `DataSet`."""
        return cut(self.split(split), size)

    def categories(self) -> tuple[str, ...]:
        """Those of the config, or of the folder's `categories.txt`, one a line, or VOC's twenty.

        Raises:
            ConfigError: The file is empty or names a category twice.
        """
        if self._categories is not None:
            return tuple(self._categories)
        text = self._folder.find("categories.txt")
        return VOC_CATEGORIES if text is None else parse_categories(text, self._folder.where("categories.txt"))

    def names(self) -> Mapping[str, str]:
        """See `DataSet`: VOC's categories are words."""
        return {}

    def load(self, key: str, categories: frozenset[str] | None = None) -> tuple[bytes, str, ImageAnnotation]:
        """Reads one image and its annotation.

        Returns:
            The image's bytes, untouched; its extension, lower case, without the dot; the annotation.

        Raises:
            DataError: `missing-image`, `missing-annotation`, or see `parse_voc_xml`.
        """
        data, extension = self._folder.image(f"JPEGImages/{key}", key)
        text = self._folder.find(f"Annotations/{key}.xml")
        if text is None:
            raise DataError("missing-annotation", f"{key}: no Annotations/{key}.xml")
        return data, extension, parse_voc_xml(text, key, categories, first_pixel=self._first_pixel)

    def fetch(self, unit: str, key: str) -> RawImage:
        """See `DataSet`."""
        return RawImage(*self.load(key))

    def describe(self) -> Mapping[str, Any]:
        """See `DataSet`: the splits' keys with the images' names and sizes and the annotations' content."""
        return {
            "listing": {split: [list(row) for row in self.listing(self.split(split))] for split in self.splits},
            "categories": list(self.categories()),
            "first_pixel": self._first_pixel,
        }

    def listing(self, keys: Iterable[str]) -> list[tuple[str, str | None, int, str | None]]:
        """What tells two data sets apart, without reading an image.

        Returns:
            For each key: the key, its image's file name, that file's bytes and the sha256 of its annotation file.
            A missing image has the name None and 0 bytes, a missing annotation the digest None.
        """
        keys = list(keys)
        images = {
            posixpath.relpath(name, "JPEGImages"): size for name, size in self._folder.images("JPEGImages").items()
        }
        digests = self._folder.digests(f"Annotations/{key}.xml" for key in keys)
        rows = []
        for key, digest in zip(keys, digests, strict=True):
            names = (f"{key}.{extension}" for extension in IMAGE_EXTENSIONS)
            name = next((name for name in names if name in images), None)
            rows.append((key, name, images[name] if name else 0, digest))
        return rows
