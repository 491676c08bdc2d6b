"""Annotation files of PASCAL VOC and ILSVRC DET, which are alike."""

from __future__ import annotations

import re
from xml.etree.ElementTree import Element

from pipelines.artifacts.annotations import ImageAnnotation, ObjectAnnotation
from sppnet.errors import DataError
from sppnet.outside import parsing

_DECLARED = re.compile(rb"""\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["'][^>]{0,200}?\?>""")
_EAST_ASIAN = frozenset({"gb2312", "gbk", "gb18030", "big5", "big5-hkscs", "euc-jp", "euc-kr", "shift-jis", "cp949"})


def parse_voc_xml(
    data: bytes, key: str, categories: frozenset[str] | None = None, *, first_pixel: int = 1
) -> ImageAnnotation:
    """Parse and check one annotation file of VOC or ILSVRC DET.

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
    """Parse one annotation file like `parse_voc_xml`, boxes and categories unchecked.

    Raises:
        DataError: `bad-annotation`.
    """
    from defusedxml.ElementTree import fromstring

    def broken(why: str) -> DataError:
        return DataError("bad-annotation", f"{key}: {why}")

    with parsing(broken):
        root: Element = fromstring(_decoded(data))
    try:
        size = _child(root, "size")
        return ImageAnnotation(
            key=key,
            width=int(_number(size, "width")),
            height=int(_number(size, "height")),
            objects=tuple(_parse_object(item, first_pixel) for item in root.iter("object")),
        )
    except (ValueError, OverflowError) as error:
        raise broken(str(error)) from error


def _decoded(data: bytes) -> bytes | str:
    """Return a file as text if its encoding is one that the parser doesn't know, else as it is.

    Raises:
        UnicodeDecodeError: Its bytes are of another encoding.
    """
    declared = _DECLARED.match(data)
    name = declared[1].decode().lower().replace("_", "-") if declared else ""
    return data[declared.end() :].decode(name) if declared and name in _EAST_ASIAN else data


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
