"""Data sets in VOC's layout, written file by file."""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape

from pipelines.artifacts.annotations import ImageAnnotation
from pipelines.datasets.contents import Contents
from pipelines.datasets.drawn import DrawnDataset


def write_drawn(root: Path, dataset: DrawnDataset) -> None:
    """Writes a drawn data set: `JPEGImages`, `Annotations`, `ImageSets/Main` and `categories.txt`."""
    drawn = dataset.open()
    for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / name).mkdir(parents=True)
    (root / "categories.txt").write_text("".join(f"{name}\n" for name in drawn.categories(Contents())))
    for split in drawn.splits:
        places = drawn.places(split)
        for place in places:
            (root / "JPEGImages" / f"{place.key}.jpg").write_bytes(drawn.image(place).data)
            annotation = drawn.annotation(place, 0, 0)
            (root / "Annotations" / f"{place.key}.xml").write_text(format_voc_xml(annotation))
        (root / "ImageSets" / "Main" / f"{split}.txt").write_text("".join(f"{place.key}\n" for place in places))


def format_voc_xml(annotation: ImageAnnotation, extension: str = "jpg") -> str:
    """Write VOC's XML, 1-based and inclusive, with ILSVRC's `<subcategory>`: what `parse_voc_xml` reads."""
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


_CUP = """<object><name>cup</name>{extra}
  <bndbox><xmin>{0}</xmin><ymin>{1}</ymin><xmax>{2}</xmax><ymax>{3}</ymax></bndbox></object>"""


def cup_xml(*boxes: tuple, extra: str = "", width: object = 100, height: object = 80) -> bytes:
    """One image's annotation file, with a cup in each box, as text or numbers."""
    objects = "".join(_CUP.format(*box, extra=extra) for box in boxes)
    size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    return f"<annotation><filename>no.jpg</filename>{size}{objects}</annotation>".encode()
