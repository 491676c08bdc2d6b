"""Annotation files of VOC and ILSVRC DET: what is read of them, and what is set aside."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.artifacts.annotations import ImageAnnotation, ObjectAnnotation
from pipelines.datasets.voc_xml import parse_voc_xml
from sppnet.errors import DataError
from tests.support.voc_folder import cup_xml as xml
from tests.support.voc_folder import format_voc_xml


def test_one_based_inclusive_becomes_half_open() -> None:
    annotation = parse_voc_xml(xml((1, 1, 10, 20), (91, 61, 100, 80)), "k")
    assert [thing.box for thing in annotation.objects] == [(0, 0, 10, 20), (90, 60, 100, 80)]
    assert (annotation.key, annotation.width, annotation.height) == ("k", 100, 80)


def test_first_pixel_zero_is_ilsvrcs_own() -> None:
    annotation = parse_voc_xml(xml((0, 0, 99, 79)), "k", first_pixel=0)
    assert annotation.objects[0].box == (0, 0, 100, 80)
    # Read as VOC, the same file loses a pixel at the border and nothing else.
    assert parse_voc_xml(xml((0, 0, 99, 79)), "k").objects[0].box == (0, 0, 99, 79)


def test_flags_subcategories_and_floats() -> None:
    extra = "<subcategory> mug </subcategory><difficult>1</difficult><truncated>0</truncated><pose>Left</pose>"
    annotation = parse_voc_xml(xml(("3.5", " 2 ", "1e1", "9.25"), extra=extra), "k", frozenset({"cup"}))
    assert annotation.objects == (ObjectAnnotation("cup", (2.5, 1, 10, 9.25), "mug", difficult=True, truncated=False),)
    plain = parse_voc_xml(xml((1, 1, 2, 2), extra="<subcategory/>"), "k").objects[0]
    assert (plain.subcategory, plain.difficult, plain.truncated) == (None, False, False)


def test_format_is_read_back() -> None:
    things = (
        ObjectAnnotation("a<b", (0.0, 0.0, 10.0, 20.0), "c&d", difficult=True),
        ObjectAnnotation("car", (5.5, 6.25, 100.0, 80.0), None, truncated=True),
    )
    annotation = ImageAnnotation("k", 100, 80, things)
    text = format_voc_xml(annotation)
    assert parse_voc_xml(text.encode(), "k") == annotation
    assert "<xmin>1</xmin><ymin>1</ymin><xmax>10</xmax><ymax>20</ymax>" in text


@pytest.mark.parametrize(
    ("data", "reason", "word"),
    [
        (b"", "bad-annotation", "no element"),
        (b"<annotation><size>", "bad-annotation", "k"),
        (b"\xff\xd8\xff\xe0JFIF", "bad-annotation", "k"),
        (b"<annotation/>", "bad-annotation", "<size>"),
        (xml((1, 1, 2, 2)).replace(b"<name>cup</name>", b""), "bad-annotation", "<name>"),
        (xml((1, 1, 2, 2)).replace(b"cup", b" "), "bad-annotation", "<name>"),
        (xml((1, "", 2, 2)), "bad-annotation", "<ymin>"),
        (xml((1, "ten", 2, 2)), "bad-annotation", "'ten', not a number"),
        (xml((1, 1, 2, 2)).replace(b"bndbox", b"polygon"), "bad-annotation", "<bndbox>"),
        (xml(width="wide"), "bad-annotation", "<width>"),
        (xml(width="inf"), "bad-annotation", "infinity"),
        (xml(width="nan"), "bad-annotation", "k"),
        (xml(height=0), "bad-annotation", "100 x 0"),
        (xml((1, "nan", 2, 2)), "bad-box", "nan"),
        (xml((7, 1, 3, 2)), "bad-box", "no area"),
        (xml((7, 1, 6, 2)), "bad-box", "no area"),
        (xml((1, 1, 102, 20)), "box-outside-image", "100 x 80"),
        (xml((1, 1, 2, 2)).replace(b"cup", b"mug"), "unknown-category", "'mug'"),
    ],
)
def test_bad_files_are_data_errors(data: bytes, reason: str, word: str) -> None:
    with pytest.raises(DataError, match=word) as caught:
        parse_voc_xml(data, "k", frozenset({"cup"}))
    assert caught.value.reason == reason
    assert "\n" not in str(caught.value)


def test_entities_are_refused() -> None:
    bomb = b'<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;">]>' + xml((1, 1, 2, 2)).replace(b"cup", b"&y;")
    with pytest.raises(DataError) as caught:
        parse_voc_xml(bomb, "k")
    assert caught.value.reason == "bad-annotation"


def test_one_pixel_past_the_edge_is_clipped() -> None:
    assert parse_voc_xml(xml((0, 0, 101, 81)), "k").objects[0].box == (0, 0, 100, 80)


def test_reads_the_real_ilsvrc_det(shared: Path) -> None:
    folder = shared / "data/ilsvrc_det_val50/VOCdevkit/DET50/Annotations"
    notes = [parse_voc_xml(path.read_bytes(), path.stem) for path in sorted(folder.iterdir())]
    objects = [thing for note in notes for thing in note.objects]
    assert (len(notes), len(objects), len({thing.category for thing in objects})) == (50, 189, 45)
    # Original coordinates: 0-based, inclusive, so the last pixel is width - 1.
    path = shared / "data/ilsvrc_det/det_bbox_val2_xml/ILSVRC2012_val_00000018.xml"
    assert parse_voc_xml(path.read_bytes(), "18", first_pixel=0).objects[0].box == (145, 162, 363, 269)


@pytest.mark.parametrize(
    "data",
    [
        b'<?xml version="1.0" encoding="unicode"?>' + xml((1, 1, 2, 2)),
        b'<?xml version="1.0" encoding="gb2312"?>' + xml((1, 1, 2, 2)).replace(b"cup", b"\xff\xff"),
        b'<?xml version="1.0" encoding="rot13"?>' + xml((1, 1, 2, 2)),
        b'<?xml version="1.0" encoding="idna"?>' + xml((1, 1, 2, 2)),
        b"<annotation>" + b"<size>" * 200_000,
        xml(width="1" + "0" * 400),
        xml(width="1e300", height="-1e300"),
        xml((1, 1, 2, 2)).replace(b"cup", b"\xff"),
        xml((1, 1, 2, 2)).replace(b"cup", b"&#xd800;"),
        xml((1, 1, 2, 2)).replace(b"cup", b"&#0;"),
    ],
)
def test_what_can_not_be_read_is_set_aside_in_a_short_line(data: bytes) -> None:
    with pytest.raises(DataError) as caught:
        parse_voc_xml(data, "k")
    assert caught.value.reason == "bad-annotation"
    assert len(caught.value.detail) < 1010
    assert "\n" not in caught.value.detail


def test_other_encodings_are_read() -> None:
    text = xml((1, 1, 2, 2)).decode().replace("cup", "café")
    assert parse_voc_xml(b"\xef\xbb\xbf" + text.encode(), "k").objects[0].category == "café"
    latin = f'<?xml version="1.0" encoding="ISO-8859-1"?>{text}'
    assert parse_voc_xml(latin.encode("latin-1"), "k").objects[0].category == "café"
    assert parse_voc_xml(text.encode("utf-16"), "k").objects[0].category == "café"
    for name in ("gb2312", "GBK", "Big5", "EUC-JP", "Shift_JIS"):
        east = f'<?xml version="1.0" encoding="{name}"?>\n{text.replace("café", "中")}'
        assert parse_voc_xml(east.encode(name), "k").objects[0].category == "中"
