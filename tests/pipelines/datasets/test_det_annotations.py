"""What of DET's annotation files is kept, and what their summaries say of it."""

from __future__ import annotations

import hashlib
from itertools import product

import pytest

from pipelines.datasets.det_annotations import BadBoxes, Keeping, Subcategories, digest_of, summarise
from pipelines.datasets.det_hierarchy import DetHierarchy, Leaf, Synset
from sppnet.errors import DataError

PET, CAT = Synset(1, "n00000001", "pet", (2,)), Synset(2, "n00000002", "cat")
HIERARCHY = DetHierarchy((PET,), (Leaf(CAT, PET, 1, 1.0),))


def xml(*objects: tuple[str, str, tuple[float, ...]]) -> bytes:
    body = "".join(
        f"<object><name>{name}</name><subcategory>{tag}</subcategory><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin>"
        f"<xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
        for name, tag, (x0, y0, x1, y1) in objects
    )
    return f"<annotation><size><width>40</width><height>30</height></size>{body}</annotation>".encode()


WHOLE, FLAT, NAN = (0, 0, 39, 29), (5, 5, 5, 9), (0, 0, float("nan"), 9)
FILES = {
    "leaf": xml((PET.wnid, CAT.wnid, WHOLE)),
    "none": xml((PET.wnid, "", WHOLE), (PET.wnid, CAT.wnid, WHOLE)),
    "flat": xml((PET.wnid, CAT.wnid, FLAT), (PET.wnid, "", WHOLE)),
    "nan": xml((PET.wnid, CAT.wnid, NAN), (PET.wnid, CAT.wnid, WHOLE)),
    "unknown": xml(("n99999999", "", WHOLE)),
    "empty": xml(),
    "broken": b"<annotation>",
}
OPTIONS = list(product(("leaf", "leaf-only", "none"), ("quarantine", "drop"), (0, 1)))


@pytest.mark.parametrize(("subcategories", "bad_boxes", "first_pixel"), OPTIONS)
@pytest.mark.parametrize("name", FILES)
def test_a_summary_counts_what_is_read(
    name: str, subcategories: Subcategories, bad_boxes: BadBoxes, first_pixel: int
) -> None:
    keeping = Keeping(HIERARCHY, subcategories, bad_boxes, first_pixel)
    try:
        kept = [thing.category for thing in keeping.read(FILES[name], "key").objects]
    except DataError:
        kept = []
    summary = summarise(FILES[name])
    assert keeping.categories(summary, "key") == kept
    assert digest_of(summary) == hashlib.sha256(FILES[name]).hexdigest()


def test_what_is_kept() -> None:
    def kept(name: str, key: str, subcategories: Subcategories, bad_boxes: BadBoxes) -> list[str | None]:
        annotation = Keeping(HIERARCHY, subcategories, bad_boxes, 0).read(FILES[name], key)
        return [thing.subcategory for thing in annotation.objects]

    assert kept("none", "a", "leaf", "quarantine") == [None, CAT.wnid]
    assert kept("none", f"{CAT.wnid}/a", "leaf", "quarantine") == [CAT.wnid, CAT.wnid]  # its folder says it
    assert kept("none", "a", "leaf-only", "quarantine") == [CAT.wnid]
    assert kept("none", "a", "none", "quarantine") == [None, None]
    assert kept("flat", "a", "leaf", "drop") == [None]
    with pytest.raises(DataError, match="bad-box: a: n00000001"):
        kept("flat", "a", "leaf", "quarantine")


def test_options_are_what_changes_annotations() -> None:
    all_options = [Keeping(HIERARCHY, *options).options() for options in OPTIONS]
    assert all(a != b for i, a in enumerate(all_options) for b in all_options[:i])
    other = DetHierarchy((PET,), ())
    assert Keeping(other, "leaf", "drop", 0).options() != Keeping(HIERARCHY, "leaf", "drop", 0).options()
    assert Keeping(other, "none", "drop", 0).options() == Keeping(HIERARCHY, "none", "drop", 0).options()
