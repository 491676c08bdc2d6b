"""Reading a whole data set, and what must hold of every kind."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from pipelines.artifacts.annotations import ImageAnnotation
from pipelines.datasets.contents import Contents
from pipelines.datasets.protocol import DataSet, Item, Place
from sppnet.errors import DataError
from sppnet.images.decoding import decode_image


@dataclass(frozen=True)
class Read:
    """An image as a data set gives it, with its checked annotation."""

    key: str
    extension: str
    data: bytes
    annotation: ImageAnnotation


def items_of(data: DataSet) -> dict[str, list[Item]]:
    """The items of every split."""
    contents = Contents()
    return {split: list(data.items(split, contents)) for split in data.splits}


def place_of(split: str, item: Item) -> Place:
    return Place(split, item.group, item.key, item.files)


def read_all(data: DataSet, split: str) -> tuple[list[Read], dict[str, str]]:
    """Reads a split as ingest does: the images with their annotations, and by key the reasons of those set aside."""
    contents = Contents()
    categories = frozenset(data.categories(contents))
    records, reasons = [], {}
    for item in data.items(split, contents):
        place = place_of(split, item)
        try:
            image = data.image(place)
            height, width = decode_image(image.data, min_side=16).shape[:2]
            annotation = data.annotation(place, width, height).checked(categories)
            annotation.check_size(width, height)
            records.append(Read(item.key, image.extension, image.data, annotation))
        except DataError as error:
            reasons[item.key] = error.reason
    return records, reasons


def check_items(opened: Callable[[], DataSet]) -> None:
    """Checks what a data set lists against what a worker reads, and that looking again reads nothing.

    Args:
        opened: Opens the data set anew.
    """
    first = Contents()
    lister = opened()
    listed = {split: list(lister.items(split, first)) for split in lister.splits}
    categories = lister.categories(first)
    for split, items in listed.items():
        worker = opened()  # which has listed nothing
        places = [place_of(split, item) for item in items]
        assert list(opened().places(split)) == places
        assert opened().count(split) == len(items) == len({item.key for item in items}) > 0
        for item, place in zip(items, places, strict=True):
            assert worker.label(place) == item.label
            try:
                image = worker.image(place)
            except DataError:
                assert item.image is None
            else:
                assert item.image == image.digest == (image.made_from or hashlib.sha256(image.data).hexdigest())
    again = Contents.decode(first.encode(), "here")
    reader = opened()
    assert {split: list(reader.items(split, again)) for split in reader.splits} == listed
    assert reader.categories(again) == categories
    assert (again.read_count, again.table()) == (0, first.table())


def changes(opened: Callable[[], DataSet], change: Callable[[], object]) -> tuple[list[str], list[str], int]:
    """What a change of the files does to a data set whose keys stay.

    Returns:
        The keys whose images change, those whose labels do, and how many files are read to see it.
    """
    first = Contents()
    before = opened()
    old = [item for split in before.splits for item in before.items(split, first)]
    before.categories(first)
    change()
    second = Contents.decode(first.encode(), "here")
    after = opened()
    new = [item for split in after.splits for item in after.items(split, second)]
    after.categories(second)
    assert [(item.key, item.group) for item in new] == [(item.key, item.group) for item in old]
    images = [a.key for a, b in zip(old, new, strict=True) if a.image != b.image]
    labels = [a.key for a, b in zip(old, new, strict=True) if a.label != b.label]
    return images, labels, second.read_count
